"""How a label mask enters a generator or a discriminator: channels in the range of the images."""

import torch
from torch import Tensor


def encode_mask(mask: Tensor, num_classes: int) -> Tensor:
    """Encode class indices as channels of -1 and 1.

    Args:
        mask: int64 [B, H, W], values 0..num_classes-1.
        num_classes: 2 for binary masks (background and one foreground class).

    Returns:
        float32 [B, M, H, W] in {-1, 1}: M = 1 (the foreground) for two classes, else one channel per class.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a mask has at least 2, background included")
    channels = torch.arange(1 if num_classes == 2 else 0, num_classes, device=mask.device)
    return (mask.unsqueeze(1) == channels.view(1, -1, 1, 1)).float() * 2 - 1
