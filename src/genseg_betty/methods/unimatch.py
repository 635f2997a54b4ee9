"""UniMatch, weak-to-strong consistency of one network (Yang et al., CVPR 2023)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from genseg_betty.augment.cutmix import CutMix
from genseg_betty.augment.intensity import Intensity
from genseg_betty.backbones.feature_dropout import check_perturbation
from genseg_betty.methods.semi_supervised import SemiSupervised
from genseg_betty.semisupervised.unimatch import UniMatch
from genseg_betty.training.components import Components
from genseg_betty.training.semi_supervised import build_semi_supervised


class UniMatchMethod(SemiSupervised):
    """The network's sure labels of an unlabelled image are those of strong views of it, and of dropped features.

    Args:
        augment: as in `SemiSupervised`; it makes the weak views too.
        threshold: the least probability of a label that counts.
        cutmix: the share of strong views that have a rectangle of another image.
        strong: the arguments of `Intensity`, which changes the strong views; None: nothing.
    """

    unlabelled_per_labelled: ClassVar[int] = 2

    def __init__(
        self,
        augment: bool = True,
        threshold: float = 0.95,
        cutmix: float = 0.5,
        strong: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(augment)
        self.threshold = threshold
        self.cutmix = CutMix(cutmix)
        self.strong = Intensity(**(strong or {}))

    def build_level(self, components: Components) -> UniMatch:
        preprocessing = components.data.preprocessing
        check_perturbation(
            components.segmenter,
            preprocessing.channels,
            preprocessing.image_size,
            components.config.backbone.name,
        )
        return build_semi_supervised(
            components,
            UniMatch,
            self.augment,
            unlabelled_per_labelled=self.unlabelled_per_labelled,
            strong=self.strong,
            cutmix=self.cutmix,
            threshold=self.threshold,
        )
