"""Mutual correction of two networks (MCF, Wang et al., CVPR 2023)."""

from genseg_betty.methods.semi_supervised import Paired
from genseg_betty.semisupervised.mutual_correction import MutualCorrection
from genseg_betty.training.components import Components
from genseg_betty.training.semi_supervised import build_paired


class MutualCorrectionMethod(Paired):
    """The network that does worse on a labelled batch learns from the other one on unlabelled images. Both predict.

    Args:
        augment: as in `SemiSupervised`.
        second_backbone: as in `Paired`.
        consistency_weight: of the loss on unlabelled images at the end of the training.
        correction_weight: of the squared error where the networks disagree on labelled images.
        temperature: of the winner's probabilities; the lower, the nearer they are to its labels.
    """

    def __init__(
        self,
        augment: bool = True,
        second_backbone: str | None = None,
        consistency_weight: float = 0.1,
        correction_weight: float = 0.5,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(augment, second_backbone)
        self.consistency_weight = consistency_weight
        self.correction_weight = correction_weight
        self.temperature = temperature

    def build_level(self, components: Components) -> MutualCorrection:
        return build_paired(
            components,
            MutualCorrection,
            self.augment,
            consistency_weight=self.consistency_weight,
            correction_weight=self.correction_weight,
            temperature=self.temperature,
        )
