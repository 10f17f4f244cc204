"""Data-parallel training with MPI on scikit-learn's handwritten digits, for any number of processes.

Works the same without nauta on one machine: `mpirun -n 2 python3 train.py`, or `python3 train.py` alone.
"""

import hashlib
import os

import numpy as np
from mpi4py import MPI
from sklearn.datasets import load_digits

EPOCHS = int(os.environ.get("EPOCHS", "5"))
CHECKPOINT = os.path.join(os.environ.get("NAUTA_OUTPUTS", "."), "checkpoint.npz")
BATCH = 64
WORLD = MPI.COMM_WORLD


def initial():
    random = np.random.default_rng(0)
    dense = lambda rows, columns: random.standard_normal((rows, columns)) * (2 / rows) ** 0.5
    return {"w1": dense(64, 64), "b1": np.zeros(64), "w2": dense(64, 10), "b2": np.zeros(10)}


def resume():
    """Rank 0's checkpoint, if there is one, for all ranks: after a restart, for example."""
    state = {"epoch": 0, **initial()}
    if WORLD.rank == 0 and os.path.exists(CHECKPOINT):
        state = dict(np.load(CHECKPOINT))
    return WORLD.bcast(state)


def save(parameters, epoch):
    """Replaces the checkpoint in one step: whoever reads it finds the old one or the new one, whole."""
    with open(CHECKPOINT + ".new", "wb") as file:
        np.savez(file, epoch=epoch, **parameters)
    os.replace(CHECKPOINT + ".new", CHECKPOINT)


def gradients(p, images, labels):
    """The sum of the losses of some images, and its gradients."""
    hidden = np.maximum(images @ p["w1"] + p["b1"], 0)
    scores = hidden @ p["w2"] + p["b2"]
    scores -= scores.max(axis=1, keepdims=True)
    likely = np.exp(scores)
    likely /= likely.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(likely[rows, labels]).sum()
    likely[rows, labels] -= 1
    back = (likely @ p["w2"].T) * (hidden > 0)
    return loss, {"w1": images.T @ back, "b1": back.sum(0), "w2": hidden.T @ likely, "b2": likely.sum(0)}


def summed(values):
    """The sums over all ranks, in one message."""
    flat = np.concatenate([np.ravel(value) for value in values])
    WORLD.Allreduce(MPI.IN_PLACE, flat)
    ends = np.cumsum([np.size(value) for value in values])
    return [part.reshape(np.shape(value)) for part, value in zip(np.split(flat, ends[:-1]), values)]


def main():
    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    state = resume()
    done = int(state.pop("epoch"))
    parameters = state

    for epoch in range(done + 1, EPOCHS + 1):
        order = np.random.default_rng(epoch).permutation(len(labels))
        total = 0.0
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            own = batch[WORLD.rank :: WORLD.size]
            loss, gradient = gradients(parameters, images[own], labels[own])
            loss, *sums = summed([loss, *gradient.values()])
            total += float(loss)
            for name, value in zip(gradient, sums):
                parameters[name] -= 0.2 * value / len(batch)
        if WORLD.rank == 0:
            print(f"epoch {epoch}: loss {total / len(order):.4f}", flush=True)
            save(parameters, epoch)

    digest = hashlib.sha256(b"".join(value.tobytes() for value in parameters.values())).hexdigest()[:16]
    # Lines that many processes write at once may mix; rank 0 says what all have.
    for rank, theirs in enumerate(WORLD.gather(digest) or []):
        print(f"rank {rank} of {WORLD.size}: parameters {theirs}", flush=True)


if __name__ == "__main__":
    main()
