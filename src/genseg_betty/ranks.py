"""Which of several processes this one is, as torchrun tells each that it starts.

The processes of one training are equal but in two things: each computes its share of every batch (`joint_batch.py`),
and the first one alone writes, to the Run and to the screen. This module imports no torch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

from genseg_betty.errors import UserError

TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets in the environment of each process."""


@dataclass(frozen=True)
class Rank:
    """The place of this process among those of its training.

    Attributes:
        number: its own, from 0.
        count: how many there are.
        local_number: its number among those on this machine, from 0: that of its GPU.
    """

    number: int = 0
    count: int = 1
    local_number: int = 0


def find_rank() -> Rank:
    """What the environment tells; the rank of a single process where nothing is told."""
    if any(name not in os.environ for name in TOLD):
        return Rank()
    try:
        number, count, local_number = [int(os.environ[name]) for name in TOLD[:3]]
    except ValueError as error:
        told = ", ".join(f"{name}={os.environ[name]}" for name in TOLD[:3])
        raise UserError(f"the environment says {told}; expected three numbers, as torchrun sets them") from error
    return Rank(number, count, local_number)


def count_processes() -> int:
    """How many processes make this training together."""
    return find_rank().count


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return find_rank().number == 0


def name_process() -> str:
    """ "genseg" of the first process; of another one its number as well, from 1."""
    rank = find_rank()
    return f"genseg (process {rank.number + 1} of {rank.count})" if rank.number else "genseg"


def require_one_process(command: str) -> None:
    """Raise UserError where several processes were started for a command that one alone can do."""
    count = count_processes()
    if count > 1:
        raise UserError(
            f"{command} was started in {count} processes, which would all do the same and write the same files; "
            "torchrun is for one training (genseg without a verb and without -m): start this command without it"
        )


@contextmanager
def quiet_unless_first() -> Iterator[None]:
    """Print nothing within the block where this is not the first process; errors that leave it are not held back."""
    if is_first():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
