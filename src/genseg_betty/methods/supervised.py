"""Baselines on real pairs alone: as they are (vanilla), augmented by a recipe, or two batches of them a step."""

from genseg_betty.levels.segmentation import SupervisedSegmentation, TwiceSupervisedSegmentation
from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.multilevel.engine import Phase, Plan
from genseg_betty.run.beyond import IMAGES_PER_STEP
from genseg_betty.run.names import SEGMENTATION_PHASE
from genseg_betty.training.components import Components, pair_batches


class Supervised(LevelMethod):
    """A segmenter trained on labelled images.

    Args:
        augment: change image and mask together, by the recipe of conf/augment that is chosen.
    """

    divides_batches = True

    def __init__(self, augment: bool) -> None:
        self.augment = augment

    def plan(self, components: Components) -> Plan:
        level = self.build_level(components)
        iterations = components.config.trainer.iterations
        return Plan([level], [Phase(SEGMENTATION_PHASE, iterations, (level.name,))])

    def build_level(self, components: Components) -> SupervisedSegmentation:
        """The level that trains the segmenter."""
        return components.build_supervised(self.augment)


class RealTwice(Supervised):
    """The control of GenSeg: a second batch of real pairs in the place of the synthetic one, in the same update.

    A step of it shows the segmenter as many images as a step of GenSeg, so that what GenSeg scores above it is owed to
    what its images show, not to their number.

    Args:
        augment: as of `Supervised`.
        real_weight: γ of Eq. 2: the loss is that of the first batch + γ · that of the second.
    """

    def __init__(self, augment: bool, real_weight: float = 1.0) -> None:
        super().__init__(augment)
        self.real_weight = real_weight

    def build_level(self, components: Components) -> SupervisedSegmentation:
        level = components.build_supervised(self.augment, TwiceSupervisedSegmentation, real_weight=self.real_weight)
        # Each batch has an order of its own; the first is the batch of all methods.
        level.batches = pair_batches(level.batches, components.draw_feed("second_segmenter"))
        return level

    def count_beyond(self, components: Components) -> dict[str, int]:
        return {IMAGES_PER_STEP: 2 * components.data.settings.batch_size}
