"""DistributedDataParallel on scikit-learn's handwritten digits, under torchrun, with as many processes as there are.

torchrun starts this anew on all ranks whenever one is lost or has come: it goes on from the newest checkpoint.
"""

import hashlib
import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

EPOCHS = int(os.environ.get("EPOCHS", "5"))
SEED = int(os.environ.get("SEED", "0"))
CHECKPOINT = os.path.join(os.environ.get("NAUTA_OUTPUTS", "."), "checkpoint.pt")


def digits():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images / 16.0, dtype=torch.float32)
    return TensorDataset(images, torch.tensor(labels))


def digest(model):
    """The parameters' digest: the same on all ranks, or they do not train one model."""
    state = hashlib.sha256()
    for parameter in model.parameters():
        state.update(parameter.detach().numpy().tobytes())
    return state.hexdigest()[:16]


def save(model, optimizer, epoch):
    """Replaces the checkpoint in one step: whoever reads it finds the old one or the new one, whole."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, CHECKPOINT + ".new")
    os.replace(CHECKPOINT + ".new", CHECKPOINT)


def resume(model, optimizer):
    """Goes on from the newest checkpoint that any process has; a new rank may have none. Gives the epochs done."""
    own = torch.load(CHECKPOINT, weights_only=True) if os.path.exists(CHECKPOINT) else None
    epochs = [0] * dist.get_world_size()
    dist.all_gather_object(epochs, own["epoch"] if own else 0)
    newest = epochs.index(max(epochs))
    if epochs[newest] == 0:
        return 0
    state = [own]
    dist.broadcast_object_list(state, src=newest)
    model.load_state_dict(state[0]["model"])
    optimizer.load_state_dict(state[0]["optimizer"])
    return state[0]["epoch"]


def main():
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of additions, and so the digest, does not depend on the machine's size

    data = digits()
    sampler = DistributedSampler(data, world, rank, seed=SEED)
    loader = DataLoader(data, batch_size=max(1, 64 // world), sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)

    done = resume(model.module, optimizer)
    for epoch in range(done + 1, EPOCHS + 1):
        sampler.set_epoch(epoch)
        total = torch.zeros(2)
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(labels), len(labels)])
        dist.all_reduce(total)
        if rank == 0:
            print(f"epoch {epoch} of {world} ranks: loss {total[0] / total[1]:.4f}", flush=True)
        save(model.module, optimizer, epoch)

    print(f"rank {rank} of {world}: parameters {digest(model.module)}", flush=True)
    # No rank leaves before all are done, and Gloo's threads get the time to let go of the last tensors: one that still
    # held a tensor while the interpreter exits would abort the process.
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
