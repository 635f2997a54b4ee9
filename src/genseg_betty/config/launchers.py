"""What the keys of `launcher` may hold, which say where the trainings of a sweep run; see `schema.py`."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from genseg_betty.config.marks import Length, Range
from genseg_betty.config.quantities import Count, Positive, Title, Word


def is_launchers(line: str) -> bool:
    """Whether an override says where cells are trained: `launcher=slurm`, `launcher.jobs=2`."""
    return line.lstrip("+").startswith(("launcher=", "launcher."))


@dataclass
class LocalLauncherConfig:
    """On this machine, `jobs` at once."""

    name: Literal["local"]
    jobs: Annotated[int, Range(least=1, most=256)] = 1


@dataclass
class SlurmLauncherConfig:
    """As jobs of SLURM; conf/launcher/slurm.yaml says what each key means."""

    name: Literal["slurm"]
    jobs: Positive = 32
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    gpus: Positive | None = None
    cpus: Positive | None = 4
    memory_gib: Positive | None = 16
    minutes: Positive = 240
    retries: Count = 20
    warning_seconds: Positive = 120
    setup: Annotated[list[Title], Length(0, 1000)] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    wait: bool = True
