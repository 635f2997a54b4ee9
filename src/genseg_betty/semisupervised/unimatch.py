"""UniMatch: one network, whose sure answers on an unlabelled image are the labels of other views of it.

Yang et al., Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation, CVPR 2023, as the authors'
code for medical images has it (more-scenarios/medical). An unlabelled image is seen four times:

- weakly, as the recipe of conf/augment moves it: the most probable class of each pixel is the label;
- strongly, twice: its intensities are changed, and a rectangle is cut from another image (CutMix), whose label and
  confidence are cut from that one too;
- weakly, and half of the channels of the encoder's features are dropped.

    loss = ((CE(p, y) + Dice(p, y)) / 2 + D(strong 1) / 4 + D(strong 2) / 4 + D(dropped) / 2) / 2

D is Dice over the pixels whose label has a probability of at least `threshold`. The image that rectangles are cut from
is another unlabelled one of the step, and is labelled by the network in evaluation mode. There is no ramp: at the
beginning hardly a pixel is sure.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from genseg_betty.augment.cutmix import CutMix, paste_boxes
from genseg_betty.augment.intensity import Intensity
from genseg_betty.backbones.feature_dropout import perturbed_features
from genseg_betty.consistency import find_pseudo_labels, measure_confident_dice
from genseg_betty.data.unlabelled import MixedBatch
from genseg_betty.levels.stage import Networks, Trial
from genseg_betty.multilevel.step_inputs import send_from_host
from genseg_betty.semisupervised.cross_teaching import measure_labelled
from genseg_betty.semisupervised.level import SemiSupervisedLevel


class Labelled(NamedTuple):
    """Images [U, C, H, W] that the network itself has labelled.

    Attributes:
        image: as it is seen.
        label: class indices [U, H, W].
        confidence: the probability of each [U, H, W].
    """

    image: Tensor
    label: Tensor
    confidence: Tensor


class UniMatch(SemiSupervisedLevel):
    """The segmenter and its losses. Its batches hold two unlabelled images for each one that is learned from.

    Args:
        strong: changes the intensities of the strong views.
        cutmix: draws the rectangles.
        threshold: the least probability of a label that counts.
    """

    def __init__(self, *args: Any, strong: Intensity, cutmix: CutMix, threshold: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.strong = strong
        self.cutmix = cutmix
        self.threshold = threshold

    def training_step(self, batch: MixedBatch) -> Tensor:
        image, mask = self.take_labelled(batch)
        weak, other = self.take_unlabelled(batch).chunk(2)
        others = self.label_others(other)

        # One pass of labelled images and weak views, and of what is left of them without some channels.
        with perturbed_features(self.module):
            plain, dropped = self(torch.cat([image, weak])).chunk(2)
        count = len(image)
        labelled = measure_labelled(plain[:count], mask)
        weakly = Labelled(weak, *find_pseudo_labels(plain[count:]))
        by_dropping = self.measure_view(dropped[count:], weakly)

        # One pass of both strong views.
        views = [self.draw_strong_view(weakly, others) for _ in range(2)]
        strong = self(torch.cat([view.image for view in views])).chunk(2)
        by_strong = sum(self.measure_view(logits, view) for logits, view in zip(strong, views, strict=True))
        return (labelled + by_strong / 4 + by_dropping / 2) / 2

    @torch.no_grad()
    def label_others(self, image: Tensor) -> Labelled:
        """Images [U, C, H, W] as the network labels them in evaluation mode."""
        with self.evaluating():
            logits = self(image)
        return Labelled(image, *find_pseudo_labels(logits))

    def draw_strong_view(self, weakly: Labelled, others: Labelled) -> Labelled:
        """Other intensities, and rectangles of the others: image, label and confidence alike."""
        count, _, height, width = weakly.image.shape
        image = self.strong.change_images(weakly.image)
        pasted = self.strong.change_images(others.image)
        boxes = send_from_host(lambda: self.cutmix.draw_boxes(count, height, width), image.device)
        return Labelled(
            image=paste_boxes(image, pasted, boxes),
            label=paste_boxes(weakly.label, others.label, boxes),
            confidence=paste_boxes(weakly.confidence, others.confidence, boxes),
        )

    def measure_view(self, logits: Tensor, view: Labelled) -> Tensor:
        """The loss of the logits [U, O, H, W] of a view where its labels are sure."""
        return measure_confident_dice(logits, view.label, view.confidence, self.threshold)

    def dry_step(self) -> Trial:
        def pass_all_views(networks: Networks, image: Tensor, condition: Tensor) -> Any:
            twice = torch.cat([image, image])
            with perturbed_features(self.module):
                weak = networks[0](twice)
            return weak, networks[0](twice)

        return Trial([self.module], pass_all_views)
