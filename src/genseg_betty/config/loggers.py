"""What the section `logger` may hold, by its name."""

from dataclasses import dataclass
from typing import Annotated, Literal

from genseg_betty.config.marks import Tag
from genseg_betty.config.quantities import Count, FilePath, Word

PICTURES = 16
"""Test cases of each test set that get a picture."""


@dataclass
class CSVLoggerConfig:
    name: Literal["csv"]


@dataclass
class WandbLoggerConfig:
    name: Literal["wandb"]
    project: Word = "genseg"
    entity: Word | None = None
    mode: Literal["offline", "online", "disabled"] = "offline"
    group: Word | None = None
    overlays: Count = PICTURES


@dataclass
class TensorBoardLoggerConfig:
    name: Literal["tensorboard"]
    overlays: Count = PICTURES


@dataclass
class MLflowLoggerConfig:
    name: Literal["mlflow"]
    project: Word = "genseg"
    dir: FilePath | None = None
    group: Word | None = None
    overlays: Count = PICTURES


LoggerConfig = Annotated[
    CSVLoggerConfig | WandbLoggerConfig | TensorBoardLoggerConfig | MLflowLoggerConfig, Tag("name")
]
