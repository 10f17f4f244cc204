"""A script in a folder of its own, which imports the package at the root and keeps its settings beside the model."""

import json
import os
import sys

import torch

from tiny_model.model import Model

folder = "./out/adder"
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "args.txt"), "w", encoding="utf-8") as file:
    file.write(" ".join(sys.argv[1:]))
with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
    json.dump({"lr": 0.1, "steps": 50}, file, indent=4)
torch.manual_seed(3407)
torch.set_num_threads(1)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(50):
    x = torch.rand(32, 2)
    loss = torch.nn.functional.mse_loss(model(x), x.sum(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"iter_num {step + 1}; train loss {loss.item():.5f}")
torch.save(model.state_dict(), os.path.join(folder, "model.pt"))
