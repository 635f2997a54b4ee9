"""Images of any size for networks that halve their input several times.

A network that halves its input d times needs sides divisible by 2^d. Instead of asking that of the data,
the image is padded by repeating its border, and the logits are cropped back.
"""

from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.errors import UserError


class PadToMultiple(nn.Module):
    """Pads H and W to a multiple, runs the network and crops its output back to [B, K, H, W].

    The padding repeats the border ("replicate"), half on each side. Reflection would need sides larger than
    the padding, and zeros would be mid-gray for images in [-1, 1]. Twice differentiable if the network is.

    Raises:
        UserError: the batch is too small for the network's BatchNorm in training mode.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        missing_rows, missing_columns = -height % self.multiple, -width % self.multiple
        top, left = missing_rows // 2, missing_columns // 2
        if missing_rows or missing_columns:
            border = (left, missing_columns - left, top, missing_rows - top)
            image = functional.pad(image, border, mode="replicate")
        return self._run(image)[..., top : top + height, left : left + width]

    def _run(self, image: Tensor) -> Tensor:
        try:
            return self.network(image)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            count, _, height, width = image.shape
            raise UserError(
                f"BatchNorm cannot train on a batch of {count} image of {height} x {width} pixels: somewhere "
                "in this backbone a channel is down to one value (DeepLab pools each image to 1 x 1, a UNet "
                "gets there on small images). Expected 2 or more images a batch: set trainer.batch_size=2 "
                "or larger."
            ) from error
