"""What a training step takes from the host: seeds of its random numbers, and tensors that are made there.

A step whose kernels were captured (`multilevel/captured_step.py`) runs no Python when it is replayed. So both kinds of
input pass through this module, where a recorder can listen. Without a recorder nothing is changed: the generators are
seeded, the tensors are sent.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from genseg_betty.device import send_to_device
from genseg_betty.randomness import derived_seed, seeded


@dataclass(frozen=True)
class Moment:
    """Names the random numbers of one stretch of a step.

    Attributes:
        seed: that of the run.
        level: the level whose step it is.
        count: the number of that step, from 1.
        purpose: what the numbers are for, where a step has several stretches of its own; "" for the step itself.
        word: what the seed is derived from in place of the level's name; "" for the name.
    """

    seed: int
    level: str
    count: int
    purpose: str = ""
    word: str = ""

    def find_seed(self) -> int:
        """The seed of torch's generators for this stretch."""
        of_step = derived_seed(self.seed, self.word or self.level, self.count)
        return derived_seed(of_step, self.purpose) if self.purpose else of_step

    def shift(self, steps: int) -> "Moment":
        """The same stretch of the level's step `steps` steps later."""
        return replace(self, count=self.count + steps)


class Recorder(Protocol):
    """Takes the place of the two functions below while it listens."""

    def seed_generators(self, moment: Moment) -> AbstractContextManager[None]:
        """As `seed_generators`."""

    def send_from_host(self, make: Callable[[], Tensor], device: torch.device) -> Tensor:
        """As `send_from_host`."""


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def listen(recorder: Recorder) -> Iterator[None]:
    """Let `recorder` answer within the block."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def seed_generators(moment: Moment) -> AbstractContextManager[None]:
    """Run a block under torch's generators seeded for `moment`; outside they are left untouched."""
    recorder = _recorder.get()
    return seeded(moment.find_seed()) if recorder is None else recorder.seed_generators(moment)


def send_from_host(make: Callable[[], Tensor], device: torch.device) -> Tensor:
    """Make a tensor on the host and send it to `device`.

    Args:
        make: draws its random numbers from torch's default CPU generator and from nothing else. It is called again for
            every replay, and must not hold on to tensors of the step.
    """
    recorder = _recorder.get()
    return send_to_device(make(), device) if recorder is None else recorder.send_from_host(make, device)
