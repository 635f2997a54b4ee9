"""Cross teaching between a convolutional and an attention network (Luo et al., MIDL 2022)."""

from genseg_betty.methods.semi_supervised import Paired
from genseg_betty.semisupervised.cross_teaching import CrossTeaching
from genseg_betty.training.components import Components
from genseg_betty.training.semi_supervised import build_paired


class CrossTeachingMethod(Paired):
    """Each network learns from labelled images, and from the other's labels of unlabelled ones. The first predicts.

    Args:
        augment: as in `SemiSupervised`.
        second_backbone: as in `Paired`.
        consistency_weight: of the loss on unlabelled images at the end of the training.
    """

    def __init__(
        self, augment: bool = True, second_backbone: str | None = None, consistency_weight: float = 0.1
    ) -> None:
        super().__init__(augment, second_backbone)
        self.consistency_weight = consistency_weight

    def build_level(self, components: Components) -> CrossTeaching:
        weight = self.consistency_weight
        return build_paired(components, CrossTeaching, self.augment, consistency_weight=weight)
