"""What nnU-Net says while it trains, line by line: how far it is, and its losses."""

import re
from dataclasses import dataclass, field

EPOCH = re.compile(r": Epoch (\d+)\s*$")
UPDATE = re.compile(r"^update (\d+)\s*$")  # of our own trainer
LOSS = re.compile(r": (train_loss|val_loss) (\S+)\s*$")
ENDED = re.compile(r": Epoch time: ")


@dataclass
class TrainingLog:
    """The state of a training after the lines read so far.

    Args:
        updates: how many updates the training makes in all.
        full_epoch: updates of an epoch; the last one may have fewer.

    Attributes:
        losses: train_loss and val_loss of the last epoch that has them.
        started: the first epoch that the lines tell of, 0 unless the training goes on; None before it begins.
    """

    updates: int
    full_epoch: int
    done: int = 0
    epoch: int = 0
    started: int | None = None
    losses: dict[str, float] = field(default_factory=dict)

    def read_line(self, line: str) -> bool:
        """Read a line; returns whether an epoch has ended with it."""
        if found := EPOCH.search(line):
            self.epoch = int(found[1])
            self.done = min(self.epoch * self.full_epoch, self.updates)
            if self.started is None:
                self.started = self.epoch
        elif found := UPDATE.match(line):
            self.done = min(int(found[1]), self.updates)
        elif found := LOSS.search(line):
            self.losses[found[1]] = float(found[2])
        elif ENDED.search(line):
            self.done = min((self.epoch + 1) * self.full_epoch, self.updates)
            return True
        return False
