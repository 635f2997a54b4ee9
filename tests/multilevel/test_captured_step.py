"""Captured steps make what plain steps make: weights, statistics, moments, counts, and what is reported."""

import pytest
import torch
from torch import Tensor

from genseg_betty import randomness
from genseg_betty.config import compose
from genseg_betty.multilevel import finite_steps
from genseg_betty.multilevel.engine import PhasedEngine, find_backend
from levels.real import OVERRIDES
from levels.toy import advance
from methods.tiny import SECOND, built, load
from multilevel.reenacted import ReenactedBackend
from states import different, flat

STEPS = 8


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    """Verdicts stay on the device, and what is drawn on the host has a generator of its own, as beside a GPU."""
    monkeypatch.setattr(finite_steps, "answers_at_once", lambda device: False)
    host, seed_all, draw = torch.Generator(), randomness.seed_torch, torch.randint

    def seed_both(seed):
        host.manual_seed(seed)
        seed_all(seed)

    def draw_on_the_host(*args, **kwargs):
        of_host = isinstance(args[1], tuple) and args[1] == ()
        return draw(*args, **kwargs, generator=host) if of_host else draw(*args, **kwargs)

    monkeypatch.setattr(randomness, "seed_torch", seed_both)
    monkeypatch.setattr(torch, "randint", draw_on_the_host)


def tensors_of(engine: PhasedEngine) -> list[Tensor]:
    """All tensors that a step changes and leaves."""
    states = [value for level in engine.levels for value in flat(level.state_dict()).values()]
    tallies = [tally for level in engine.levels for tally in (level.guard._skipped, level.guard._skipped_in_row)]
    return [*(value for value in states if isinstance(value, Tensor)), *tallies]


def make_engine(*overrides: str, captured: bool) -> PhasedEngine:
    config = compose([*OVERRIDES, "trainer.iterations=20", *overrides])
    backend = ReenactedBackend(lambda: tensors_of(engine)) if captured else None
    engine = built(config, load(config), backend)[1]
    engine.tell = pytest.fail
    return engine


CASES = {
    "exact": ["hypergradient=exact"],
    "exact_full, every second": ["hypergradient=exact_full", "arch_every=2", "method.augment_pairs=both"],
    "finite differences": ["hypergradient=finite_difference"],
    "none": ["hypergradient=none"],
    "spade": ["generator=spade", "precision=bf16"],
    "asapnet": ["generator=asapnet"],
    "soft_intro_vae": ["generator=soft_intro_vae"],
    "bbdm": ["generator=bbdm", "generator.discriminator=null"],
    "wgan_gp": ["generator=wgan_gp"],
    "swinunet": ["backbone=swinunet"],
    "combine": ["method=combine"],
    "real_twice": ["method=real_twice"],
    "cross_teaching": ["method=cross_teaching", "unlabelled=5", *SECOND],
    "deep_cotraining": ["method=deep_cotraining", "unlabelled=5", *SECOND],
    "augment=strong": [
        "augment=strong",
        "augment.intensity.noise.probability=1",
        "augment.intensity.blur.probability=1",
    ],
    "augment=elastic": ["augment=elastic"],
    "copy_paste": ["copy_paste=0.7"],
    "separate": ["method=separate", "trainer.iterations=4"],
    "sgd": [f"trainer.optimizers.{part}={{name: sgd, lr: 1e-3}}" for part in ("generator", "segmenter")],
}


SLOW = (
    "exact",
    "none",
    "asapnet",
    "soft_intro_vae",
    "bbdm",
    "wgan_gp",
    "combine",
    "deep_cotraining",
    "augment=elastic",
    "sgd",
)
"""What the others take as well, in parts: left out of `make test`."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else []) for n in CASES])
def test_captured_steps_equal_plain_ones(name):
    plain, captured = (make_engine(*CASES[name], captured=captured) for captured in (False, True))
    for engine in (plain, captured):
        advance(engine, STEPS)
    assert captured.graphs.replayed >= 2
    assert not different(captured.state_dict(), plain.state_dict())


def test_a_resumed_engine_equals_one_never_stopped():
    """The captured step of one is a plain step of the other."""
    whole = advance(make_engine(captured=True), STEPS)
    first = advance(make_engine(captured=True), STEPS - 2)
    resumed = make_engine(captured=True)
    resumed.load_state_dict(first.state_dict())
    advance(resumed, 2)
    assert whole.graphs.replayed > resumed.graphs.replayed == 0
    assert not different(resumed.state_dict(), whole.state_dict())


def test_a_state_that_is_loaded_takes_the_place_of_what_was_captured():
    whole = advance(make_engine(captured=False), STEPS)
    engine = advance(make_engine(captured=True), 4)
    state = engine.state_dict()
    engine = advance(make_engine(captured=True), STEPS)
    engine.load_state_dict(state)
    advance(engine, STEPS - 4)
    assert not different(engine.state_dict(), whole.state_dict())


# -- what a capture refuses ------------------------------------------------------------------------------------------


def break_step(engine: PhasedEngine, fault) -> list[str]:
    """Let the segmenter's loss do `fault` as well; returns what the engine tells of its graphs after some steps."""
    told: list[str] = []
    engine.tell = told.append
    criterion = engine.segmenter.criterion

    def faulty(logits, mask):
        return criterion(logits, mask) + 0 * fault(logits)

    engine.segmenter.criterion = faulty
    advance(engine, 6)
    return told


FAULTS = {
    "a value is read back": (lambda logits: logits.mean().item(), "waits for the GPU"),
    "a tensor comes from the host": (lambda logits: torch.tensor([1.0]).sum(), "lift_fresh within a capture"),
    "a generator is seeded": (lambda logits: torch.manual_seed(0).initial_seed(), "manual_seed within a capture"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_captured_is_told_once_and_trained_all_the_same(name):
    fault, reason = FAULTS[name]
    plain, captured = (make_engine("hypergradient=none", captured=captured) for captured in (False, True))
    assert not break_step(plain, fault)
    told = break_step(captured, fault)
    assert len(told) == 1
    assert reason in told[0]
    assert captured.graphs.replayed <= 1  # the warm-up's steps are sound
    assert not different(captured.state_dict(), plain.state_dict())


def test_another_learning_rate_is_another_kind_of_step():
    """A captured step holds the rate that it was captured with."""
    plain, captured = (advance(make_engine(captured=captured), 6) for captured in (False, True))
    for engine in (plain, captured):
        engine.segmenter.optimizer.param_groups[0]["lr"] *= 0.1
        advance(engine, 5)
    assert captured.graphs.replayed >= 4
    assert not different(captured.state_dict(), plain.state_dict())


def test_a_cpu_has_no_graphs():
    assert find_backend("auto", torch.device("cpu")) is None
