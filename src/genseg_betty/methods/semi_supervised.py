"""What the semi-supervised methods share: they differ from the supervised ones in one level, and in nothing else.

Updates, labelled images a step, first weights, trainer, averaging and selection are those of every method.
"""

from abc import abstractmethod
from typing import Any, ClassVar

from genseg_betty.build import count_parameters
from genseg_betty.levels.segmentation import SegmenterLevel
from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.multilevel.engine import Phase, PhasedEngine, Plan
from genseg_betty.run import Run
from genseg_betty.run.beyond import IMAGES_PER_STEP, SEGMENTERS, UNLABELLED_IMAGES
from genseg_betty.run.names import SEGMENTATION_PHASE
from genseg_betty.training.components import Components


class SemiSupervised(LevelMethod):
    """A segmenter trained on labelled and unlabelled images. A subclass builds its level.

    Args:
        augment: move labelled and unlabelled images as conf/augment says.
    """

    uses_unlabelled: ClassVar[bool] = True
    labelled_batches: ClassVar[int] = 1  # a step
    unlabelled_per_labelled: ClassVar[int] = 1

    def __init__(self, augment: bool = True) -> None:
        self.augment = augment

    def plan(self, components: Components) -> Plan:
        level = self.build_level(components)
        iterations = components.config.trainer.iterations
        return Plan([level], [Phase(SEGMENTATION_PHASE, iterations, (level.name,))])

    def count_beyond(self, components: Components) -> dict[str, int]:
        data = components.data
        assert data.unlabelled is not None
        batches = self.labelled_batches + self.unlabelled_per_labelled
        return {IMAGES_PER_STEP: batches * data.settings.batch_size, UNLABELLED_IMAGES: len(data.unlabelled)}

    @abstractmethod
    def build_level(self, components: Components) -> SegmenterLevel:
        """The level of the segmenter, by `training.semi_supervised`."""


class Paired(SemiSupervised):
    """Two segmenters of different structure that learn from each other.

    Args:
        augment: as in `SemiSupervised`.
        second_backbone: the file of conf/backbone that the second one is built from; null: one of another structure.
            `compose` makes it the section `second_backbone` of the config.
    """

    num_networks: ClassVar[int] = 2

    def __init__(self, augment: bool = True, second_backbone: str | None = None) -> None:
        super().__init__(augment)
        self.second_backbone = second_backbone

    def count_beyond(self, components: Components) -> dict[str, int]:
        return {**super().count_beyond(components), SEGMENTERS: self.num_networks}

    def finish(self, run: Run, components: Components, engine: PhasedEngine) -> dict[str, Any]:
        findings = super().finish(run, components, engine)
        findings["parameters"]["second segmenter"] = count_parameters(engine.segmenter.module.second)
        return findings
