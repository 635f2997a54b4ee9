"""Configs that pass the check train: one step on tiny drawings ends in finite losses, or in a sentence.

GENSEG_FUZZ_TRAINING=50 tries as many in place of a few.
"""

import math
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import genseg_betty as gs
from command.fuzz import NUMBERS, VALUES, draw_line, keys_of
from genseg_betty.config import compose
from genseg_betty.errors import ConfigError, UserError

COUNT = int(os.environ.get("GENSEG_FUZZ_TRAINING", "2"))
TINY = [
    "dataset=phantom", "dataset.size=32", "dataset.count=12", "dataset.n_labelled=4", "image_size=32", "ood=[]",
    "backbone=unet_classic", "backbone.base_channels=2", "generator.base_channels=2", "generator.max_channels=4",
    "generator.discriminator.base_channels=2", "trainer.batch_size=2", "dataset.n_test=1", "device=cpu",
    "trainer.iterations=1", "trainer.warmup_iterations=1", "trainer.finetune_iterations=1",
]  # fmt: skip
# What makes a training long or large by itself, or writes elsewhere.
FIXED = ("iterations", "run_dir", "count", "size", "channels", "layers")


def passing(source: random.Random) -> list[str]:
    """Lines of a config that passes the check, one of them odd and the others tiny."""
    keys = sorted(key for key in keys_of(compose(TINY)) if not key.endswith(FIXED) and "batch_size" not in key)
    while True:
        lines = [*TINY, draw_line(source, keys, NUMBERS if source.random() < 0.7 else VALUES)[1]]
        try:
            compose(lines)
        except ConfigError:
            continue
        return lines


@pytest.mark.parametrize("number", range(COUNT))
def test_one_step(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    lines = passing(random.Random(number))
    with suppress(UserError):
        run = gs.train([*lines, f"run_dir={tmp_path / 'run'}"])
        losses = [row["value"] for row in run.metrics() if row["phase"] != "system"]
        assert losses, lines[-1]
        assert all(map(math.isfinite, losses)), lines[-1]
