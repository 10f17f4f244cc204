"""Data-parallel training on scikit-learn's handwritten digits, on all devices of any number of ranks.

Works the same without nauta on one machine.
"""

import hashlib
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.datasets import load_digits

EPOCHS = int(os.environ.get("EPOCHS", "5"))
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
CHECKPOINT = os.path.join(os.environ.get("NAUTA_OUTPUTS", "."), "checkpoint.npz")


def loss(parameters, images, labels):
    hidden = jax.nn.relu(images @ parameters["w1"] + parameters["b1"])
    scores = jax.nn.log_softmax(hidden @ parameters["w2"] + parameters["b2"])
    return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=1))


@jax.jit
def step(parameters, images, labels):
    value, gradients = jax.value_and_grad(loss)(parameters, images, labels)
    return jax.tree.map(lambda p, g: p - 0.2 * g, parameters, gradients), value


def initial():
    random = np.random.default_rng(0)
    dense = lambda rows, columns: (random.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
    return {"w1": dense(64, 64), "b1": np.zeros(64, np.float32), "w2": dense(64, 10), "b2": np.zeros(10, np.float32)}


def resume():
    """Rank 0's checkpoint, if there is one, for all ranks: after a restart, for example."""
    state = {"epoch": np.zeros((), np.int32), **initial()}
    if RANK == 0 and os.path.exists(CHECKPOINT):
        state = dict(np.load(CHECKPOINT))
    return multihost_utils.broadcast_one_to_all(state) if WORLD > 1 else state


def save(parameters, epoch):
    """Replaces the checkpoint in one step: whoever reads it finds the old one or the new one, whole."""
    with open(CHECKPOINT + ".new", "wb") as file:
        np.savez(file, epoch=np.int32(epoch), **parameters)
    os.replace(CHECKPOINT + ".new", CHECKPOINT)


def main():
    if WORLD > 1:
        # The address of rank 0 comes from JAX_COORDINATOR_ADDRESS.
        jax.distributed.initialize(num_processes=WORLD, process_id=RANK)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16.0).astype(np.float32), labels.astype(np.int32)
    batch = 64 // jax.device_count() * jax.device_count()
    state = resume()
    done = int(state.pop("epoch"))
    parameters = {name: jax.make_array_from_process_local_data(everywhere, np.asarray(p)) for name, p in state.items()}

    for epoch in range(done + 1, EPOCHS + 1):
        order = np.random.default_rng(epoch).permutation(len(labels))
        total, batches = 0.0, len(order) // batch
        for chosen in order[: batches * batch].reshape(batches, batch):
            own = np.split(chosen, WORLD)[RANK]
            parameters, value = step(
                parameters,
                jax.make_array_from_process_local_data(spread, images[own]),
                jax.make_array_from_process_local_data(spread, labels[own]),
            )
            total += float(value)
        if RANK == 0:
            print(f"epoch {epoch}: loss {total / batches:.4f}", flush=True)
            save({name: np.asarray(p) for name, p in parameters.items()}, epoch)

    digest = hashlib.sha256(b"".join(np.asarray(parameters[name]).tobytes() for name in sorted(parameters)))
    print(f"rank {RANK} of {WORLD}: parameters {digest.hexdigest()[:16]}", flush=True)


if __name__ == "__main__":
    main()
