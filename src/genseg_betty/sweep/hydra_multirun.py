"""Hydra's multirun over the numbers of cells: it hands each to its launcher, here or on a cluster."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import hydra
from omegaconf import DictConfig

from genseg_betty.config import conf_dir
from genseg_betty.config.python_values import override_lines
from genseg_betty.sweep.sweep_file import Sweep

CELL = "sweep_cell"
"""The key that Hydra sweeps over. What a cell trains is composed and checked by `genseg_betty.config`."""


def run_multirun(sweep: Sweep, numbers: Sequence[int], train: Callable[[int], object]) -> None:
    """Call `train` with each number by Hydra's launcher. Raises what Hydra raises, SystemExit among it."""

    def train_next(config: DictConfig) -> None:
        train(config[CELL])

    flags = ["--multirun"]
    if sweep.config_dir:
        flags += ["--config-dir", sweep.config_dir]
    settings = override_lines({f"++launcher.{key}": value for key, value in sweep.launcher.items()}, {}, ())
    launcher = [f"launcher={sweep.launcher['name']}", *settings]
    listed = ",".join(str(number) for number in numbers)
    arguments = [*flags, f"hydra.sweep.dir='{sweep.folder}'", *sweep.hydras, *launcher, f"++{CELL}={listed}"]
    multirun = hydra.main(config_path=str(conf_dir()), config_name="sweep", version_base="1.3")(train_next)
    with _command_line(arguments):
        multirun()


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Hydra reads sys.argv and nothing else."""
    usual = sys.argv
    sys.argv = ["genseg", *arguments]
    try:
        yield
    finally:
        sys.argv = usual
