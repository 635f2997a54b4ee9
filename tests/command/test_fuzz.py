"""Whatever stands behind a key: the config is refused in a sentence that names the key, or it is sound.

GENSEG_FUZZ=20000 tries as many drawn configs in place of a few.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from command.conftest import Toys, write_toys
from command.fuzz import VALUES, draw_line, keys_of
from genseg_betty.config import composing, library
from genseg_betty.config.plain import require_plain
from genseg_betty.errors import ConfigError
from genseg_betty.run.saved_config import resolve_config

COUNT = int(os.environ.get("GENSEG_FUZZ", "120"))
STARTS = [[], ["trainer=quick"], ["dataset=folder"], ["dataset=nlm_sz", "logger=wandb"], ["dataset=hippocampus"]]
MORE_KEYS = [
    "dataset.ignore", "dataset.classes", "dataset.threshold", "dataset.stem", "dataset.group_starts", "dataset.folds",
    "dataset.split.test", "dataset.split.file", "dataset.images.0", "dataset.spacing", "dataset.fold", "x", "a.b.c",
    "generator.kernels", "trainer.optimizers.segmenter.momentum", "trainer.small.x", "launcher", "hydra.run.dir",
    "_target_",
]  # fmt: skip


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    """One folder for all tests here, of which Hydra composes each choice of members once: it takes most of the time."""
    root = tmp_path_factory.mktemp("toys")
    known: composing.Composed = {}

    def compose_once(groups: dict[str, str], folder: Path | None, composed: composing.Composed) -> Any:
        return usual(groups, folder, known)

    usual = composing.compose_once
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        for module in (composing, library):
            patch.setattr(module, "compose_once", compose_once)
        yield write_toys(root)


def test_drawn_configs_are_refused_in_a_sentence_or_sound(toys: Toys) -> None:
    keys = {key for start in STARTS for key in keys_of(toys.compose(*start))} | set(MORE_KEYS)
    source = random.Random(7)
    for _ in range(COUNT):
        start = source.choice(STARTS)
        key, line = draw_line(source, sorted(keys))
        require_sentence_or_sound(lambda: toys.compose(*start, line), key, line)  # noqa: B023 (called at once)


def test_several_odd_lines_at_once(toys: Toys) -> None:
    keys = sorted({key for start in STARTS for key in keys_of(toys.compose(*start))} | set(MORE_KEYS))
    source = random.Random(8)
    for _ in range(COUNT // 3):
        lines = [draw_line(source, keys)[1] for _ in range(source.choice([2, 3, 5]))]
        require_sentence_or_sound(lambda: toys.compose(*lines), "", str(lines))  # noqa: B023 (called at once)


@pytest.mark.parametrize("value", VALUES)
def test_every_odd_value_by_itself_is_no_member_and_no_word(toys: Toys, value: str) -> None:
    for line in (f"backbone={value}", value, f"={value}", f"{value}=1"):
        require_sentence_or_sound(lambda: toys.compose(line), "", line)  # noqa: B023 (called at once)


def require_sentence_or_sound(compose: Callable[[], Any], key: str, line: str) -> None:
    """Composing raises ConfigError and nothing else, or the config is plain, finite and the same in a Run's file."""
    problems, config = attempt(compose)
    if config is None:
        assert problems, line
        assert all(problem.isprintable() and len(problem) < 3000 for problem in problems), (line, problems)
        # What picks the other keys of a section, such as a dataset's reader, may be told by those that do not fit it.
        told = key.removesuffix(".0").removesuffix("._target_").removesuffix(".reader").rpartition(".")[2]
        assert told in "".join(problems), (line, problems)
    else:
        require_plain(OmegaConf.to_container(config, resolve=True))
        assert resolve_config(config) == config, line
        assert config.run_dir, line


def attempt(compose: Callable[[], Any]) -> tuple[Sequence[str], Any]:
    """The problems of a config, or the config."""
    try:
        return (), compose()
    except ConfigError as error:
        return error.problems, None
