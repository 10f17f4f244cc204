"""Data-parallel training by `env://`, with a checkpoint that it goes on from, and a copy of the best one."""

import os
import shutil

import torch
import torch.distributed as dist

distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
if distributed:
    dist.init_process_group(backend="gloo", init_method="env://")
rank = dist.get_rank() if distributed else 0
world = dist.get_world_size() if distributed else 1
torch.manual_seed(7)
torch.set_num_threads(1)
model = torch.nn.Linear(16, 4)
trained = torch.nn.parallel.DistributedDataParallel(model) if distributed else model
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
images, labels = torch.randn(256, 16), torch.randint(4, (256,))
start = 0
if os.path.isfile("checkpoint.pth.tar"):
    checkpoint = torch.load("checkpoint.pth.tar")
    start = checkpoint["epoch"]
    model.load_state_dict(checkpoint["state_dict"])
for epoch in range(start, 3):
    for batch in range(rank, 16, world):
        part = slice(batch * 16, batch * 16 + 16)
        loss = torch.nn.functional.cross_entropy(trained(images[part]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"Epoch: [{epoch}][16/16]\tLoss {loss.item():.4e}")
    if rank == 0:
        torch.save({"epoch": epoch + 1, "state_dict": model.state_dict()}, "checkpoint.pth.tar")
        shutil.copyfile("checkpoint.pth.tar", "model_best.pth.tar")
if distributed:
    dist.destroy_process_group()
