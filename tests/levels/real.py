"""Levels around small networks of the package, in float32, on drawn images."""

from torch import Tensor

from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.levels.engine import GenSegEngine
from levels.toy import advance
from methods.tiny import TINY, built
from states import joined

OVERRIDES = [*TINY, "method=genseg", "precision=fp32", "seed=3", "ood=[]", "trainer.warmup_iterations=1"]


def real_engine(*overrides: str) -> GenSegEngine:
    config = compose([*OVERRIDES, *overrides])
    return built(config, load_data(config))[1]


def gradient_of_alpha(engine: GenSegEngine) -> Tensor:
    """What A's optimizer is given in the engine's next step."""
    seen = []
    architecture = engine.architecture
    step = architecture.optimizer.step
    architecture.optimizer.step = lambda: (
        seen.extend(p.grad.clone() for p in architecture.module.parameters()),
        step(),
    )
    advance(engine, 1)
    return joined(seen)
