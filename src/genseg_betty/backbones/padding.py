"""Images and volumes of any size, for networks that take some sizes only.

A network that halves its input d times needs sides divisible by 2^d. Instead of asking that of the data,
the image is padded by repeating its border, and the logits are cropped back.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.backbones.second_order import TwiceDifferentiable
from genseg_betty.errors import UserError

LINEAR = {2: "bilinear", 3: "trilinear"}


class PadToMultiple(TwiceDifferentiable):
    """Pads every side to a multiple, runs the network and crops its output back to [B, K, *spatial].

    The padding repeats the border ("replicate"), half on each side. Reflection would need sides larger than
    the padding, and zeros would be mid-gray for images in [-1, 1].

    Args:
        network: [B, C, *spatial] -> [B, K, *spatial], where all sides are multiples of `multiple`.
        multiple: and so are the sides it gets.
        least: they are also at least this long.
        frozen, notes: see `TwiceDifferentiable`.

    Raises:
        UserError: the batch is too small for the network's BatchNorm in training mode.
    """

    def __init__(
        self,
        network: nn.Module,
        multiple: int,
        least: int = 1,
        frozen: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(network, frozen, notes)
        self.multiple = multiple
        self.least = -(-least // multiple) * multiple

    def forward(self, image: Tensor) -> Tensor:
        sides = image.shape[2:]
        missing = [max(self.least, side + -side % self.multiple) - side for side in sides]
        before = [count // 2 for count in missing]
        if any(missing):
            border = [(first, count - first) for first, count in zip(before, missing, strict=True)]
            image = functional.pad(image, [width for pair in reversed(border) for width in pair], mode="replicate")
        logits = self._run(image)
        for axis, (first, side) in enumerate(zip(before, sides, strict=True), start=2):
            logits = logits.narrow(axis, first, side)
        return logits

    def _run(self, image: Tensor) -> Tensor:
        try:
            return super().forward(image)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            count, _, *sides = image.shape
            kind = "pixels" if len(sides) == 2 else "voxels"
            raise UserError(
                f"BatchNorm cannot train on a batch of {count} image of {' x '.join(map(str, sides))} {kind}: "
                "somewhere in this backbone a channel is down to one value (DeepLab pools each image to 1 x 1, a UNet "
                "gets there on small images). Expected 2 or more images a batch: set trainer.batch_size=2 "
                "or larger."
            ) from error


class ResizeTo(TwiceDifferentiable):
    """For a network of one size (learned positions): images are resized to it, and their logits back.

    Args:
        network: [B, C, *size] -> [B, K, *size].
    """

    def __init__(self, network: nn.Module, size: Sequence[int], notes: tuple[str, ...] = ()) -> None:
        super().__init__(network, notes=notes)
        self.size = tuple(size)

    def forward(self, image: Tensor) -> Tensor:
        return _resized(super().forward(_resized(image, self.size)), image.shape[2:])


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return functional.interpolate(image, size=tuple(size), mode=LINEAR[len(size)], align_corners=False)
