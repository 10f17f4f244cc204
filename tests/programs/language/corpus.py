import os

import torch


def load(folder):
    with open(os.path.join(folder, "train.txt"), encoding="utf-8") as file:
        text = file.read()
    letters = sorted(set(text))
    return letters, torch.tensor([letters.index(letter) for letter in text])
