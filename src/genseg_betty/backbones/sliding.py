"""Logits of volumes that are larger, or smaller, than the patches that a network was trained on."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

OVERLAP = 0.5  # of neighbouring windows, whose logits are averaged with Gaussian weights
DARKEST = -1.0  # the intensity beyond the border


def slide(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    window: Sequence[int],
    batch_size: int = 1,
    device: torch.device | None = None,
) -> Tensor:
    """Logits [1, O, *] of one image [1, C, *] of any size, from windows of one size (MONAI).

    The windows are sent to `device`, by default the image's; the logits lie where the image does.
    """
    from monai.inferers import sliding_window_inference  # takes seconds, which a mistyped command should not cost

    logits = sliding_window_inference(
        image,
        tuple(window),
        batch_size,
        network,
        overlap=OVERLAP,
        mode="gaussian",
        cval=DARKEST,
        sw_device=device or image.device,
        device=image.device,
    )
    assert isinstance(logits, Tensor)
    return logits
