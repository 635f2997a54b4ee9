"""ARCHITECTURE.md says what is there, and what it says of adding a part is done here as it says it."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genseg_betty
from genseg_betty.config import compose
from genseg_betty.training.run_training import train
from methods.tiny import TINY

PACKAGE = Path(genseg_betty.__file__).parent
PAGE = (Path(__file__).parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES_OF_A_STEP = 6
LINES_OF_A_RECIPE = 5


def sections() -> dict[str, str]:
    """Title -> text of each section of the page."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


# -- rooms and ways ----------------------------------------------------------------------------------------------


def test_every_room_is_named_once() -> None:
    rows = [line.split("|")[1] for line in sections()["Rooms"].splitlines() if line.startswith("| `")]
    named = [name.strip("/") for row in rows[1:] for name in re.findall(r"`([\w/]+)`", row)]
    there = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or is_room(path)}
    assert sorted(named) == sorted(there)


def test_every_floor_of_data_is_named() -> None:
    (row,) = [line for line in sections()["Rooms"].splitlines() if line.startswith("| `data/`")]
    named = set(re.findall(r"`(\w+)/`", row)) - {"data"}
    assert named == {path.name for path in (PACKAGE / "data").iterdir() if is_room(path)}


def is_room(path: Path) -> bool:
    return (path / "__init__.py").is_file()


def test_every_file_of_a_way_is_there() -> None:
    """Those with a suffix as they stand, those without as a file or a folder."""
    named = re.findall(r"`([a-z_]+/[a-z_/]+(?:\.py)?)`", sections()["Ways"])
    assert len(named) > 10
    missing = [name for name in named if not any((PACKAGE / f"{name}{end}").exists() for end in ("", ".py"))]
    assert not missing


def test_a_joint_step_is_followed_through_few_files() -> None:
    """Each equation of the paper stands in one of them, as the page says."""
    steps = dict(re.findall(r"^  \d\. `(\S+)`: (.+)$", sections()["Ways"], flags=re.M))
    assert len(steps) <= FILES_OF_A_STEP
    numbers = []
    for name, text in steps.items():
        told = re.search(r"\(Eq\. ([\d, ]+)\)", text)
        if told:
            of_file = told[1].split(", ")
            source = (PACKAGE / name).read_text(encoding="utf-8")
            assert all(re.search(rf"Eq\. [\d, and]*\b{number}\b|Eq\. 9-11", source) for number in of_file), name
            numbers += of_file
    assert sorted(map(int, numbers)) == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert "(Eq. 4)" in (PACKAGE / "levels" / "graph.py").read_text(encoding="utf-8")


# -- to add ------------------------------------------------------------------------------------------------------

CODE = """
import torch
from torch import nn

from genseg_betty.generators.searchable import SearchableGenerator
from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.multilevel.engine import Phase, Plan


class Painter(SearchableGenerator):
    def __init__(self, in_channels, out_channels, image_size):
        super().__init__()
        self.paint = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, condition, alpha=None):
        return torch.tanh(self.paint(condition))


class Threshold(nn.Module):
    def __init__(self, in_channels, num_outputs, width: int = 3):
        super().__init__()
        self.read = nn.Conv2d(in_channels, num_outputs, width, padding=width // 2)

    def forward(self, image):
        return self.read(image)


class Plain(LevelMethod):
    def plan(self, components):
        level = components.build_supervised(None)
        return Plan([level], [Phase("segmentation", components.config.trainer.iterations, ("segmenter",))])
"""
FILES = {
    "dataset": 'images: ["photos/*.png"]\nmasks: ["labels/{stem}.png"]\n',
    "generator": """
        _target_: mine.Painter
        alpha: softmax
        branches: learnable
        objective: {_target_: genseg_betty.generators.objectives.ConditionalGAN}
        discriminator:
          _target_: genseg_betty.generators.discriminators.PatchDiscriminator
          layers: 1
        """,
    "backbone": "{_target_: mine.Threshold, width: 5}",
    "method": "_target_: mine.Plain",
}
SHORT = [
    "trainer.warmup_iterations=1", "trainer.iterations=2", "trainer.finetune_iterations=1", "ood=[]",
    "trainer.sample_every=1000",
]  # fmt: skip


def test_recipes_are_short() -> None:
    recipes = re.findall(r"^- \*\*A (\w+)\*\*:((?:.+\n)+?)(?=- |\Z)", sections()["To add"], flags=re.M)
    assert [kind for kind, _ in recipes] == [*FILES]
    assert all(len(text.strip().splitlines()) <= LINES_OF_A_RECIPE for _, text in recipes)


@pytest.mark.parametrize("kind", FILES)
def test_a_part_is_added_by_its_own_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "conf" / kind / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(textwrap.dedent(FILES[kind]), encoding="utf-8")
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    chosen = ["method=genseg", "dataset=phantom", *TINY, *SHORT, f"run_dir={tmp_path / 'run'}"]
    if kind == "dataset":
        draw_pairs(tmp_path / "data")
        chosen += [f"dataset.root={tmp_path / 'data'}", "dataset.n_test=null"]
    own = {"generator": ("generator.",), "backbone": ("backbone.",)}.get(kind, ("-",))
    words = [word for word in chosen if not word.startswith((*own, f"{kind}="))]
    run = train(compose([*words, f"{kind}=mine"], tmp_path / "conf"))
    results = run.read_json("results.json")
    assert (results[kind], results["iterations"]) == ("mine", 2)


def draw_pairs(root: Path) -> None:
    """Ten images of noise with a bright square, and its mask."""
    for index in range(10):
        random = np.random.default_rng(index)
        mask = np.zeros((40, 40), np.uint8)
        row, column = random.integers(4, 24, 2)
        mask[row : row + 12, column : column + 12] = 255
        image = random.integers(0, 100, mask.shape) + mask // 2
        for folder, array in (("photos", image.astype(np.uint8)), ("labels", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f"case{index}.png")
