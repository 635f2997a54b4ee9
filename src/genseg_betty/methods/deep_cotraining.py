"""Deep co-training of two networks (Peng et al., Pattern Recognition 2020)."""

from typing import ClassVar

from genseg_betty.methods.semi_supervised import Paired
from genseg_betty.semisupervised.deep_cotraining import DeepCotraining
from genseg_betty.training.components import Components
from genseg_betty.training.semi_supervised import build_paired


class DeepCotrainingMethod(Paired):
    """Two networks, each with labelled batches of its own, agree on unlabelled and on adversarial images.

    The first predicts; its labelled batches are those of every method.

    Args:
        augment: as in `SemiSupervised`.
        second_backbone: as in `Paired`.
        consistency_weight: of the Jensen-Shannon divergence on unlabelled images, at its highest.
        adversarial_weight: of the KL terms on adversarial images, at its highest.
        epsilon: how far an intensity of those is moved, as a share of the range.
    """

    labelled_batches: ClassVar[int] = 2

    def __init__(
        self,
        augment: bool = True,
        second_backbone: str | None = None,
        consistency_weight: float = 0.5,
        adversarial_weight: float = 0.05,
        epsilon: float = 0.03,
    ) -> None:
        super().__init__(augment, second_backbone)
        self.consistency_weight = consistency_weight
        self.adversarial_weight = adversarial_weight
        self.epsilon = epsilon

    def build_level(self, components: Components) -> DeepCotraining:
        return build_paired(
            components,
            DeepCotraining,
            self.augment,
            own_batches=True,
            consistency_weight=self.consistency_weight,
            adversarial_weight=self.adversarial_weight,
            epsilon=self.epsilon,
        )
