"""Baselines on real pairs alone: as they are (Vanilla), or rotated, flipped and shifted (Combine)."""

from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.multilevel.engine import Phase, Plan
from genseg_betty.training.components import Workshop


class Supervised(LevelMethod):
    """A segmenter trained on labelled images.

    Args:
        augment: move image and mask together, by the operations of conf/augment (the paper's Combine).
    """

    def __init__(self, augment: bool) -> None:
        self.augment = augment

    def plan(self, workshop: Workshop) -> Plan:
        level = workshop.supervised(workshop.augmentation if self.augment else None)
        return Plan([level], [Phase("segmentation", workshop.config.trainer.iterations, ("segmenter",))])
