"""An autoencoder on Lightning, for as many machines as it is told; logs and checkpoints go to `lightning_logs`."""

import argparse

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Pictures(L.LightningDataModule):
    def setup(self, stage):
        pictures = torch.rand(128, 4, 1) @ torch.rand(1, 16)
        self.train, self.rest = pictures[:96].reshape(96, -1), pictures[96:].reshape(32, -1)

    def train_dataloader(self):
        return DataLoader(TensorDataset(self.train), batch_size=8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TensorDataset(self.rest), batch_size=8)


class AutoEncoder(L.LightningModule):
    def __init__(self, hidden=8, learning_rate=1e-2):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Linear(64, hidden), nn.ReLU())
        self.decoder = nn.Linear(hidden, 64)

    def loss(self, batch):
        (pictures,) = batch
        return nn.functional.mse_loss(self.decoder(self.encoder(pictures)), pictures)

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_nodes", type=int, default=1)
    args = parser.parse_args()
    L.seed_everything(7, workers=True)
    torch.set_num_threads(1)
    trainer = L.Trainer(accelerator="cpu", devices=1, num_nodes=args.num_nodes, max_epochs=2, enable_progress_bar=False)
    trainer.fit(AutoEncoder(), Pictures())


if __name__ == "__main__":
    main()
