"""What only a GPU can show. Run `pytest -m gpu` where there is one."""

import pytest
import torch

import genseg_betty as gs
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.multilevel.engine import PhasedEngine, find_backend
from levels.real import OVERRIDES
from levels.toy import advance
from methods.tiny import TINY, built
from multilevel.test_captured_step import CASES, STEPS
from states import flat

pytestmark = pytest.mark.gpu

MORE_CASES = {
    "rmsprop": [f"trainer.optimizers.{part}={{name: rmsprop, lr: 1e-3}}" for part in ("generator", "segmenter")],
    "deeplab": ["backbone=deeplab", "precision=auto"],
}


@pytest.fixture(autouse=True)
def _without_atomic_sums(monkeypatch):
    """cuDNN's fastest kernels add in any order; these do not."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def make_engine(*overrides: str, graphs: str) -> PhasedEngine:
    config = compose([*OVERRIDES, "device=cuda", "trainer.iterations=20", *overrides])
    engine = built(config, load_data(config), find_backend(graphs, torch.device("cuda")))[1]
    engine.tell = pytest.fail
    return engine


def farthest(some: PhasedEngine, other: PhasedEngine) -> tuple[float, str]:
    """The largest ‖a − b‖ / ‖a‖ of what the states of two engines hold, and where it is."""
    left, right = (flat(engine.state_dict()) for engine in (some, other))
    assert left.keys() == right.keys()
    worst = (0.0, "")
    for place, value in left.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            error = float((value - right[place]).norm() / value.norm().clamp_min(1e-12))
            worst = max(worst, (error, place))
    return worst


@pytest.mark.parametrize("name", [*CASES, *MORE_CASES])
def test_captured_steps_equal_plain_ones(name):
    """As far as two plain trainings do: some of torch's kernels add in any order."""
    overrides = {**CASES, **MORE_CASES}[name]
    plain, again, captured = (
        advance(make_engine(*overrides, graphs=graphs), STEPS) for graphs in ("never", "never", "auto")
    )
    assert captured.graphs.replayed >= 2
    error, place = farthest(plain, captured)
    assert error <= 3 * farthest(plain, again)[0] + 1e-6, place


def test_a_broken_capture_is_told_and_trained_all_the_same():
    plain, broken = (make_engine("hypergradient=none", graphs=graphs) for graphs in ("never", "auto"))
    told: list[str] = []
    broken.tell = told.append
    criterion = broken.segmenter.criterion

    def wait_while_capturing(logits, mask):
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()  # which ends the capture
        return criterion(logits, mask)

    broken.segmenter.criterion = wait_while_capturing
    for engine in (plain, broken):
        advance(engine, STEPS)
    assert len(told) == 1
    assert farthest(plain, broken)[0] < 1e-6


def test_a_resumed_engine_equals_one_never_stopped():
    whole = advance(make_engine(graphs="auto"), STEPS)
    first = advance(make_engine(graphs="auto"), STEPS - 2)
    resumed = make_engine(graphs="auto")
    resumed.load_state_dict(first.state_dict())
    advance(resumed, 2)
    error, place = farthest(whole, resumed)
    assert error < 1e-6, place


def test_a_training_ends_and_predicts(tmp_path):
    run = gs.train(
        [
            *TINY, "device=cuda", "method=genseg", "trainer.iterations=8", "trainer.warmup_iterations=4",
            "trainer.finetune_iterations=4", "dataset.n_labelled=5", f"run_dir={tmp_path}/run",
        ]
    )  # fmt: skip
    image = torch.rand(40, 50).numpy()
    on_gpu, on_cpu = (gs.load(run.path, device=device)(image) for device in ("cuda", "cpu"))
    assert on_gpu.shape == (40, 50)
    assert (on_gpu == on_cpu).mean() > 0.99
