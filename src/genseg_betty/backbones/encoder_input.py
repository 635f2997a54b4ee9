"""What a pretrained encoder gets to see: images as its weights were trained on, made of ours in [-1, 1].

Libraries say that weights expect (x - mean) / std of images x in [0, most]. Of our images u in [-1, 1], x is
(u + 1) / 2 * most, so that the encoder gets u * scale + shift, a number of each for each channel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genseg_betty.backbones.padding import PadToMultiple

NAMES = ("scale", "shift")


class EncoderInput(nn.Module):
    """Maps images [B, C, H, W] in [-1, 1] to what an encoder expects; as they are until `expect` or a state dict.

    The two numbers of each channel are in its state dict, where there are any. A state dict without them, such as that
    of a network from scratch, makes images pass as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES:
            self.register_buffer(name, None)

    def expect(self, channels: int, mean: Sequence[float], std: Sequence[float], most: float = 1.0) -> None:
        """Map images from now on to (x - mean) / std, x in [0, most].

        Images with other than one channel for each mean are mapped by the mean scale and the mean shift.
        """
        scales = most / 2 / torch.tensor(std)
        shifts = (most / 2 - torch.tensor(mean)) / torch.tensor(std)
        if channels != len(mean):
            scales, shifts = scales.mean(), shifts.mean()
        self.scale = scales.reshape(1, -1, 1, 1)
        self.shift = shifts.reshape(1, -1, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        if self.scale is None:
            return image
        return image * self.scale + self.shift

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        """Take over the numbers of a state dict, or that it has none."""
        for name in NAMES:
            saved = state_dict.get(prefix + name)
            if saved is None:
                setattr(self, name, None)
            elif getattr(self, name) is None:
                setattr(self, name, torch.empty_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *others)


class PretrainedNetwork(PadToMultiple):
    """`PadToMultiple` of a network whose encoder may be pretrained: it gets its images through `encoder_input`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.encoder_input = EncoderInput()

    def forward(self, image: Tensor) -> Tensor:
        mapped = self.encoder_input(image)
        return super().forward(mapped)
