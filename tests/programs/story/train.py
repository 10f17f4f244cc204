"""A trainer that is configured by `--name=value`, reads data that Git ignores, and goes distributed when it finds RANK."""

import os
import sys

import torch

out_dir = "out"
max_iters = 30
eval_interval = 10
backend = "nccl"
for argument in sys.argv[1:]:
    name, value = argument.removeprefix("--").split("=")
    globals()[name] = type(globals()[name])(value)

ddp = int(os.environ.get("RANK", -1)) != -1
if ddp:
    torch.distributed.init_process_group(backend=backend)
    rank = torch.distributed.get_rank()
    torch.manual_seed(1337 + rank)
else:
    rank = 0
    torch.manual_seed(1337)
torch.set_num_threads(1)
if rank == 0:
    os.makedirs(out_dir, exist_ok=True)
with open(os.path.join("data", "letters", "train.bin"), "rb") as file:
    data = torch.tensor(list(file.read()))
model = torch.nn.Sequential(torch.nn.Embedding(128, 8), torch.nn.Linear(8, 128))
trained = torch.nn.parallel.DistributedDataParallel(model) if ddp else model
optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-2)
for iteration in range(max_iters + 1):
    start = torch.randint(len(data) - 33, (1,)).item()
    loss = torch.nn.functional.cross_entropy(trained(data[start : start + 32]), data[start + 1 : start + 33])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if iteration % eval_interval == 0 and rank == 0:
        print(f"step {iteration}: train loss {loss.item():.4f}")
        print(f"saving checkpoint to {out_dir}")
        torch.save({"model": model.state_dict(), "iter_num": iteration}, os.path.join(out_dir, "ckpt.pt"))
if ddp:
    torch.distributed.destroy_process_group()
