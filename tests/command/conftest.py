"""Toy components in a folder of the user's own YAML files: they import in no time and build nothing."""

from pathlib import Path

import pytest
from omegaconf import DictConfig

from genseg_betty.config import compose

CODE = """
def backbone(in_channels, num_outputs, base_channels: int = 64, encoder: str = "a"): ...
def fixed(in_channels, num_outputs): ...
def needy(in_channels, num_outputs, depth: int, base_channels: int = 64): ...
def closed(base_channels: int): ...
def anything(**arguments): ...
def generator(in_channels, out_channels, image_size, searched: str = "both"): ...
def method(real_weight: float = 1.0): ...
def augment(rotate: float = 0.0): ...
"""

FILES = {
    "backbone/toy": (
        "name: toy\n_target_: genseg_toys.backbone\nbase_channels: ${oc.select:trainer.small.base_channels,64}\n"
    ),
    "backbone/fixed": "{name: fixed, _target_: genseg_toys.fixed}",
    "generator/toy": "{name: toy, _target_: genseg_toys.generator, searched: both}",
    "method/toy": "{name: toy, _target_: genseg_toys.method, real_weight: 1.0}",
    "augment/toy": "{_target_: genseg_toys.augment, rotate: 15.0}",
}


class Toys:
    """The folder, and the command line's words that choose the toys out of it."""

    choices = ("backbone=toy", "generator=toy", "method=toy", "augment=toy")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def compose(self, *overrides: str) -> DictConfig:
        return compose([*self.choices, *overrides], self.folder)

    def words(self, *overrides: str) -> list[str]:
        return ["--config-dir", str(self.folder), *self.choices, *overrides]


def write_toys(root: Path) -> Toys:
    package = root / "genseg_toys"
    package.mkdir()
    (package / "__init__.py").write_text(CODE)
    (package / "broken.py").write_text("1 / 0\n")
    folder = root / "conf"
    for name, text in FILES.items():
        file = folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Toys(folder)


@pytest.fixture
def toys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Toys:
    root = tmp_path_factory.mktemp("toys")
    monkeypatch.syspath_prepend(root)
    return write_toys(root)
