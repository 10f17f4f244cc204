"""A classifier of small pictures in the shape of the usual first example: data beside the project, a model in the working directory."""

import argparse
import os

import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.second = nn.Linear(32, 10)

    def forward(self, x):
        return F.log_softmax(self.second(F.relu(self.first(x))), dim=1)


def dataset(root):
    """What a library would download to `root`, once."""
    path = os.path.join(root, "DIGITS", "digits.pt")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path))
        centres = torch.randn(10, 64)
        labels = torch.arange(1000) % 10
        torch.save((centres[labels] + 0.3 * torch.randn(1000, 64), labels), path)
    return torch.load(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--save-model", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    images, labels = dataset("../data")
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(1, args.epochs + 1):
        for start in range(0, len(images), 50):
            optimizer.zero_grad()
            loss = F.nll_loss(model(images[start : start + 50]), labels[start : start + 50])
            loss.backward()
            optimizer.step()
        print(f"Train Epoch: {epoch} [{len(images)}/{len(images)} (100%)]\tLoss: {loss.item():.6f}")
    if args.save_model:
        torch.save(model.state_dict(), "digits_net.pt")


if __name__ == "__main__":
    main()
