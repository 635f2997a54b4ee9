"""The trained generator of a Run (G in GenSeg, at the architecture A that it ended with): mask in, image out."""

from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from genseg_betty.build import build_architecture, build_generator, build_objective
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.errors import UserError
from genseg_betty.generators.encoding import class_masks, encode_mask
from genseg_betty.inference.predictor import repeatable
from genseg_betty.inference.saved_networks import MISMATCHES, explain_damaged_part, load_weights
from genseg_betty.run import Run


class Renderer:
    """The Run's generator in eval mode: a mask int64 [1, *] -> an image float32 [C, *] in [-1, 1] and its mask.

    The mask is the one given, except for a generator that draws both. Random numbers come from PyTorch's default
    generator.
    """

    def __init__(self, run: Run, preprocessing: Preprocessing, strongest: bool, device: torch.device):
        checkpoint = _load_generator(run, "generator")
        self.device = device
        self.objective = build_objective(run.config)
        try:
            _require_fitting(checkpoint, preprocessing)
            self.num_classes: int = checkpoint["num_classes"]
            network = self._build(run, checkpoint, strongest)
            self.network = network.to(device).eval()
            saved = checkpoint["alpha"]
            alpha = {half: weights.to(device) for half, weights in saved.items()}
        except MISMATCHES as error:
            raise explain_damaged_part(run, "generator", error) from error
        self.alpha = None if strongest else alpha

    def _build(self, run: Run, checkpoint: dict[str, Any], strongest: bool) -> nn.Module:
        size = tuple(checkpoint["image_size"])
        network = build_generator(run.config, self.num_classes, checkpoint["channels"], size)
        load_weights(network, checkpoint["weights"])
        alpha = checkpoint["alpha"]
        cells = build_architecture(run.config, network)
        found = _shapes_of(alpha)
        if found != _shapes_of(cells()):
            raise ValueError(f"its architecture has the shapes {found}, which do not fit its cells")
        if strongest:
            network = network.keep_strongest(alpha)  # type: ignore[operator]
            retrained = _load_generator(run, "generator_strongest")
            load_weights(network, retrained["weights"])
        return network

    def __call__(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        condition = encode_mask(mask.to(self.device), self.num_classes)
        with torch.no_grad(), repeatable():
            image, drawn = self.objective.draw(self._generate, condition)
        if drawn is not condition:
            mask = class_masks(drawn.float().cpu())
        return image[0].float().cpu(), mask[0]

    def _generate(self, *inputs: Tensor) -> Any:
        return self.network(*inputs, self.alpha)


def _shapes_of(alpha: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {half: weights.shape for half, weights in alpha.items()}


def _require_fitting(checkpoint: dict[str, Any], preprocessing: Preprocessing) -> None:
    """Raise ValueError for a generator of other images than the segmenter's."""
    size = tuple(checkpoint["image_size"])
    found = (checkpoint["num_classes"], checkpoint["channels"], size)
    expected = (preprocessing.num_classes, preprocessing.channels, preprocessing.image_size)
    if found != expected:
        raise ValueError(f"its classes, channels and size are {found}; the segmenter's are {expected}")


def _load_generator(run: Run, name: str) -> dict[str, Any]:
    """Load a checkpoint of a generator; raises UserError for a Run that has none."""
    checkpoint = run.load_checkpoint(name)
    if checkpoint is None:
        method = OmegaConf.select(run.config, "method.name", default="?")
        raise UserError(
            f"The Run at {run.path} has no checkpoints/{name}.pt: its method is {method}. Only methods with "
            "a generator (genseg, separate) write one, when they end."
        )
    return checkpoint
