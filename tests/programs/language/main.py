"""A language model of letters: text in the tree, the best model in the working directory, and loaded again at the end."""

import math

import torch
from torch import nn

import corpus

torch.manual_seed(1111)
torch.set_num_threads(1)
letters, text = corpus.load("./data/words")
model = nn.Sequential(nn.Embedding(len(letters), 16), nn.Linear(16, len(letters)))
best = None
for epoch in range(1, 4):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(text[:-1]), text[1:])
        loss.backward()
        optimizer.step()
    print(f"| epoch {epoch:3d} | loss {loss.item():5.2f} | ppl {math.exp(loss.item()):8.2f}")
    if best is None or loss.item() < best:
        with open("model.pt", "wb") as file:
            torch.save(model, file)
        best = loss.item()
with open("model.pt", "rb") as file:
    model = torch.load(file, weights_only=False)
print("| End of training")
