"""Levels around small networks of the package, in float32, on drawn images."""

from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.multilevel.engine import PhasedEngine
from methods.tiny import TINY, built

OVERRIDES = [*TINY, "method=genseg", "precision=fp32", "seed=3", "ood=[]", "trainer.warmup_iterations=1"]


def real_engine(*overrides: str) -> PhasedEngine:
    config = compose([*OVERRIDES, *overrides])
    return built(config, load_data(config))[1]
