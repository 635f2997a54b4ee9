"""nnU-Net's trainer with a number of updates, told by the environment. nnU-Net loads this file by `nnUNet_extTrainer`.

Everything else is nnU-Net's own: network, loss, augmentation, optimizer, and the learning rate's fall over the epochs.
"""

import os
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

TOLD_EVERY = 10  # updates


class nnUNetTrainerEqualUpdates(nnUNetTrainer):
    """Epochs of nnU-Net's length, the last one cut so that the updates are as many as GENSEG_NNUNET_UPDATES says.

    A checkpoint is written after each epoch, so that little is lost where a training is interrupted.
    """

    num_iterations_per_epoch: int
    num_val_iterations_per_epoch: int

    def __init__(
        self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any], device: Any = None
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.updates = int(os.environ["GENSEG_NNUNET_UPDATES"])
        self.updates_done = 0
        self.full_epoch = self.num_iterations_per_epoch
        self.full_validation = self.num_val_iterations_per_epoch
        self.num_epochs = -(-self.updates // self.full_epoch)
        self.save_every = 1

    def on_epoch_start(self) -> None:
        """Cut the last epoch, and its validation in proportion."""
        super().on_epoch_start()
        self.updates_done = self.current_epoch * self.full_epoch
        self.num_iterations_per_epoch = min(self.full_epoch, self.updates - self.updates_done)
        share = self.num_iterations_per_epoch / self.full_epoch
        self.num_val_iterations_per_epoch = max(1, round(share * self.full_validation))

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make an update, and tell of it now and then: an epoch may take long."""
        outcome: dict[str, Any] = super().train_step(batch)
        self.updates_done += 1
        if self.updates_done % TOLD_EVERY == 0:
            print(f"update {self.updates_done}", flush=True)
        return outcome
