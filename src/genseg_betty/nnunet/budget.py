"""How long nnU-Net trains, and what its plan says of a step."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genseg_betty.errors import UserError
from genseg_betty.nnunet.commands import EQUAL_UPDATES, OWN_TRAINER

FULL_EPOCH = 250  # updates
OWN_EPOCHS = 1000


@dataclass(frozen=True)
class Budget:
    """Updates of a training, the trainer that makes them, and what decided on both."""

    name: str
    updates: int
    trainer: str

    @property
    def epochs(self) -> int:
        return -(-self.updates // FULL_EPOCH)


def choose_budget(kind: Literal["equal", "own"], epochs: int | None, iterations: int) -> Budget:
    """The budget of a method's keys and trainer.iterations. Raises UserError where nothing would be trained."""
    if epochs is not None:
        return Budget(f"epochs={epochs}", epochs * FULL_EPOCH, EQUAL_UPDATES)
    if kind == "own":
        return Budget("own", OWN_EPOCHS * FULL_EPOCH, OWN_TRAINER)
    if iterations == 0:
        raise UserError(
            "trainer.iterations=0 gives nnU-Net no update; expected at least 1, or method.epochs=…, or "
            "method.budget=own"
        )
    return Budget("equal", iterations, EQUAL_UPDATES)


@dataclass(frozen=True)
class StepPlan:
    """What nnU-Net's plan says of a step, and of the network."""

    configuration: str
    batch_size: int
    patch_size: tuple[int, ...]
    network: str

    @classmethod
    def read(cls, plans: Path, configuration: str) -> "StepPlan":
        """Read nnUNetPlans.json. Raises UserError where it is not as nnU-Net 2.8 writes it."""
        try:
            whole: dict[str, Any] = json.loads(plans.read_text(encoding="utf-8"))
            plan = whole["configurations"][configuration]
            name = plan["architecture"]["network_class_name"].rpartition(".")[2]
            return cls(configuration, int(plan["batch_size"]), tuple(plan["patch_size"]), name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{plans} is no plan of nnU-Net 2.8 for {configuration} ({type(error).__name__}: {error}): train again "
                "with resume=restart"
            ) from error

    def describe_step(self) -> str:
        """Images of a step and their size."""
        size = "×".join(map(str, self.patch_size))
        return f"{self.batch_size} patches of {size} a step"
