"""DeepSpeed's ZeRO on scikit-learn's handwritten digits, for any number of ranks.

Started by DeepSpeed's own launcher: `deepspeed train.py --deepspeed_config ds_config.json`. Works the same without nauta on one machine.
"""

import argparse
import hashlib
import os
import shutil

import deepspeed
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

EPOCHS = int(os.environ.get("EPOCHS", "5"))
OUTPUTS = os.environ.get("NAUTA_OUTPUTS", ".")


if not shutil.which("c++"):
    # DeepSpeed would compile this for processes on one machine that have no accelerators; Gloo does the same.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--local_rank", type=int, default=0)
    return deepspeed.add_config_arguments(parser).parse_args()


def main():
    args = arguments()
    deepspeed.init_distributed()
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    torch.set_num_threads(1)

    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16.0, dtype=torch.float32), torch.tensor(labels))
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    engine, _, _, _ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
    sampler = DistributedSampler(data, world, rank, seed=0)
    loader = DataLoader(data, engine.train_micro_batch_size_per_gpu(), sampler=sampler)

    for epoch in range(1, EPOCHS + 1):
        sampler.set_epoch(epoch)
        total = torch.zeros(2)
        for images, labels in loader:
            loss = nn.functional.cross_entropy(engine(images), labels)
            engine.backward(loss)
            engine.step()
            total += torch.tensor([loss.item() * len(labels), len(labels)])
        dist.all_reduce(total)
        if rank == 0:
            print(f"epoch {epoch}: loss {total[0] / total[1]:.4f}", flush=True)
    if rank == 0:
        torch.save(engine.module.state_dict(), os.path.join(OUTPUTS, "checkpoint.pt"))

    state = hashlib.sha256()
    for parameter in engine.module.parameters():
        state.update(parameter.detach().numpy().tobytes())
    print(f"rank {rank} of {world}: parameters {state.hexdigest()[:16]}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
