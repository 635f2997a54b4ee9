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

    The padding repeats the border ("replicate"), half of it at each end. Reflection would need sides larger than the
    padding, and zeros would be mid-gray for images in [-1, 1].

    Args:
        network: [B, C, *spatial] -> [B, K, *spatial], where all sides are multiples of `multiple`.
        multiple: every side that the network gets is a multiple of it.
        least: every side that the network gets is at least this long.
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
        before: list[int] = []
        border: list[int] = []  # torch counts axes from the last
        for side in sides:
            rounded_up = side + -side % self.multiple
            missing = max(self.least, rounded_up) - side
            first = missing // 2
            before.append(first)
            border = [first, missing - first, *border]
        if any(border):
            image = functional.pad(image, border, mode="replicate")
        logits = self._run_network(image)
        for axis, (first, side) in enumerate(zip(before, sides, strict=True), start=2):
            logits = logits.narrow(axis, first, side)
        return logits

    def _run_network(self, image: Tensor) -> Tensor:
        try:
            return super().forward(image)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            count, _, *sides = image.shape
            size = " x ".join(map(str, sides))
            kind = "pixels" if len(sides) == 2 else "voxels"
            raise UserError(
                f"BatchNorm cannot train on a batch of {count} image of {size} {kind}: "
                "somewhere in this backbone a channel is down to one value (DeepLab pools each image to 1 x 1, a UNet "
                "gets there on small images). Expected 2 or more images a batch: set trainer.batch_size=2 "
                "or larger."
            ) from error


class ResizeTo(TwiceDifferentiable):
    """Resizes images to the one size of a network (learned positions), and its logits back to theirs.

    Args:
        network: [B, C, *size] -> [B, K, *size].
    """

    def __init__(self, network: nn.Module, size: Sequence[int], notes: tuple[str, ...] = ()) -> None:
        super().__init__(network, notes=notes)
        self.size = tuple(size)

    def forward(self, image: Tensor) -> Tensor:
        logits = super().forward(_resize_images(image, self.size))
        return _resize_images(logits, image.shape[2:])


def _resize_images(image: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(image.shape[2:]) == tuple(size):
        return image
    mode = LINEAR[len(size)]
    return functional.interpolate(image, size=tuple(size), mode=mode, align_corners=False)
