"""How a label mask enters a generator or a discriminator: channels in the range of the images."""

import torch
from torch import Tensor


def mask_channels(num_classes: int) -> int:
    """Channels of an encoded mask: one for a binary mask, else one a class."""
    return 1 if num_classes == 2 else num_classes


def encode_mask(mask: Tensor, num_classes: int) -> Tensor:
    """Encode class indices as channels of -1 and 1.

    Args:
        mask: int64 [B, H, W] or [B, D, H, W], values 0..num_classes-1.
        num_classes: 2 for binary masks (background and one foreground class).

    Returns:
        float32 [B, M, *] in {-1, 1}: M = 1 (the foreground) for two classes, else one channel per class.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a mask has at least 2, background included")
    first = num_classes - mask_channels(num_classes)
    classes = torch.arange(first, num_classes, device=mask.device)
    spatial = [1] * (mask.ndim - 1)
    classes = classes.view(1, -1, *spatial)
    is_class = mask.unsqueeze(1) == classes
    return is_class.float() * 2 - 1


def decode_mask(encoded: Tensor) -> Tensor:
    """A soft mask [B, M, *] in -1..1 with the channels of `encode_mask` -> shares of the classes in 0..1."""
    return (encoded + 1) / 2


def class_masks(channels: Tensor) -> Tensor:
    """Class indices [N, *] of logits, or of a soft mask in -1..1, [N, O, *]; one channel is foreground above 0."""
    if channels.shape[1] == 1:
        return (channels[:, 0] > 0).long()
    return channels.argmax(dim=1)
