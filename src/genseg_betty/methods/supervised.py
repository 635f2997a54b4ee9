"""Baselines on real pairs alone: as they are (Vanilla), or rotated, flipped and shifted (Combine)."""

from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.multilevel.engine import Phase, Plan
from genseg_betty.run.names import SEGMENTATION_PHASE
from genseg_betty.training.components import Components


class Supervised(LevelMethod):
    """A segmenter trained on labelled images.

    Args:
        augment: move image and mask together, by the operations of conf/augment (the paper's Combine).
    """

    def __init__(self, augment: bool) -> None:
        self.augment = augment

    def plan(self, components: Components) -> Plan:
        level = components.build_supervised(self.augment)
        iterations = components.config.trainer.iterations
        return Plan([level], [Phase(SEGMENTATION_PHASE, iterations, (level.name,))])
