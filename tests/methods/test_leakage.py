"""Validation and test images never move a weight or a statistic, whatever method trains."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genseg_betty.build import build_named
from genseg_betty.config import compose
from genseg_betty.data.loading import LabelledSet, load_data
from genseg_betty.run import Run
from methods.tiny import TINY

OVERRIDES = [
    *TINY,
    "trainer.warmup_iterations=2", "trainer.iterations=4", "trainer.finetune_iterations=0", "trainer.validate_every=2",
    "trainer.sample_every=1000", "trainer.select=last", "ood=[]",
]  # fmt: skip


def last_checkpoint(path, overrides, spoil):
    """All that a training leaves in checkpoints/last.pt; `spoil` replaces every held-out pixel and mask."""
    config = compose([*OVERRIDES, f"run_dir={path}", *overrides])
    data = load_data(config)
    if spoil:
        held_out = data.validation
        noise = torch.randn(held_out.images.shape, generator=torch.Generator().manual_seed(9)).clamp(-1, 1)
        data.validation = LabelledSet(held_out.ids, noise, 1 - held_out.masks)
        load = data.dataset.load
        data.dataset.load = lambda case: replace(load(case), image=np.zeros_like(load(case).image))
    with Run.start(config.run_dir, config) as run:
        build_named(config.method).fit(run, data)
        return run.load_checkpoint("last")


def tensors(state, prefix=""):
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in tensors(value, f"{prefix}/{key}").items()}
    return {prefix: state} if torch.is_tensor(state) else {}


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=genseg", "hypergradient=exact"],
        ["method=genseg", "hypergradient=exact_full"],
        ["method=genseg", "hypergradient=finite_difference"],
        ["method=genseg", "hypergradient=none"],
        ["method=separate"],
        ["method=vanilla"],
        ["method=combine"],
    ],
    ids=" ".join,
)
def test_held_out_pixels_reach_no_weight(tmp_path, overrides):
    frozen = [*overrides, "trainer.optimizers.architecture.lr=0.0"]
    clean, spoiled = (last_checkpoint(tmp_path / str(spoil), frozen, spoil) for spoil in (False, True))
    assert clean["last"] != spoiled["last"]  # the validation scores do see the difference
    for level in clean["engine"]["levels"]:
        before, after = (tensors(state["engine"]["levels"][level]) for state in (clean, spoiled))
        if level == "architecture":  # what its optimizer remembers is the validation gradient; α itself rests
            before, after = ({k: v for k, v in s.items() if k.startswith("/module")} for s in (before, after))
        assert before.keys() == after.keys()
        assert not [key for key in before if not torch.equal(before[key], after[key])], level
