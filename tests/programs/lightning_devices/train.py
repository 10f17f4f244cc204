"""A classifier on Lightning that keeps its best checkpoint, on as many devices and machines as it is told."""

import argparse
import os

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, _):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self(x), y)
        self.log("loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("accuracy", (self(x).argmax(1) == y).float().mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--num_nodes", type=int, default=1)
    args = parser.parse_args()
    L.seed_everything(1)
    torch.set_num_threads(1)
    x = torch.randn(128, 8)
    data = TensorDataset(x, (x.sum(1) > 0).long())
    best = ModelCheckpoint("checkpoints", filename="best", monitor="accuracy", mode="max", save_last=True)
    trainer = L.Trainer(
        default_root_dir=os.getcwd(), accelerator="cpu", devices=args.devices, num_nodes=args.num_nodes, max_epochs=3,
        callbacks=[best], logger=CSVLogger("logs", name="classifier"), enable_progress_bar=False, log_every_n_steps=1,
    )
    trainer.fit(Classifier(), DataLoader(data, batch_size=16), DataLoader(data, batch_size=16))


if __name__ == "__main__":
    main()
