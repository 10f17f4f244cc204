"""A training loop on Accelerate, for its own launcher, that saves the whole state after each epoch."""

import argparse
import os

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import ProjectConfiguration, set_seed
from torch.utils.data import DataLoader, TensorDataset


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", default="results")
    parser.add_argument("--num_epochs", type=int, default=2)
    args = parser.parse_args()
    # Debian's PyTorch has MPI, which would be taken first where there are no accelerators.
    is_one = os.environ.get("WORLD_SIZE", "1") == "1"
    handlers = [] if is_one or torch.cuda.is_available() else [InitProcessGroupKwargs(backend="gloo")]
    accelerator = Accelerator(project_config=ProjectConfiguration(args.output_dir), kwargs_handlers=handlers)
    set_seed(42)
    torch.set_num_threads(1)
    x = torch.randn(256, 8)
    data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16, shuffle=True)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=args.num_epochs * len(data))
    model, optimizer, data, scheduler = accelerator.prepare(model, optimizer, data, scheduler)
    for epoch in range(args.num_epochs):
        for x, y in data:
            loss = torch.nn.functional.mse_loss(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        accelerator.print(f"epoch {epoch}: loss {accelerator.gather(loss.detach()).mean().item():.4f}")
        accelerator.save_state(os.path.join(args.output_dir, f"epoch_{epoch}"))
    print(f"process {accelerator.process_index} of {accelerator.num_processes} is done", flush=True)
    accelerator.end_training()


if __name__ == "__main__":
    main()
