"""Hugging Face Accelerate on scikit-learn's handwritten digits, for any number of ranks.

Works the same without nauta on one machine.
"""

import hashlib
import os

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = int(os.environ.get("EPOCHS", "5"))
CHECKPOINT = os.path.join(os.environ.get("NAUTA_OUTPUTS", "."), "checkpoint.pt")


def main():
    # Debian's PyTorch has MPI, which would be taken first where there are no accelerators. One process has no backend.
    is_one = os.environ.get("WORLD_SIZE", "1") == "1"
    handlers = [] if is_one or torch.cuda.is_available() else [InitProcessGroupKwargs(backend="gloo")]
    accelerator = Accelerator(kwargs_handlers=handlers)
    set_seed(0)
    torch.set_num_threads(1)

    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16.0, dtype=torch.float32), torch.tensor(labels))
    loader = DataLoader(data, batch_size=max(1, 64 // accelerator.num_processes), shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    for epoch in range(1, EPOCHS + 1):
        total, batches = torch.zeros(()), 0
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            total, batches = total + accelerator.reduce(loss.detach(), "mean"), batches + 1
        if accelerator.is_main_process:
            print(f"epoch {epoch}: loss {total / batches:.4f}", flush=True)
        accelerator.save(accelerator.unwrap_model(model).state_dict(), CHECKPOINT)

    state = hashlib.sha256()
    for parameter in accelerator.unwrap_model(model).parameters():
        state.update(parameter.detach().numpy().tobytes())
    rank, world = accelerator.process_index, accelerator.num_processes
    print(f"rank {rank} of {world}: parameters {state.hexdigest()[:16]}", flush=True)
    accelerator.wait_for_everyone()
    accelerator.end_training()


if __name__ == "__main__":
    main()
