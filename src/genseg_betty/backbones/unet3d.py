"""The UNet of volumes: MONAI's residual UNet (Kerfoot et al., STACOM 2018; Çiçek et al., arXiv:1606.06650).

4.8 M parameters at 16 base channels with two residual units, 19.2 M at 32. For volumes of 32 to 128 voxels a side; it
takes images as well.
"""

from typing import Any, Literal

from torch import nn

from genseg_betty.backbones.checkpointing import checkpoint_if_asked
from genseg_betty.backbones.dimensions import images_or_volumes
from genseg_betty.backbones.padding import PadToMultiple
from genseg_betty.errors import UserError

WIDTHS = (1, 2, 4, 8, 16)  # times base_channels, from full resolution to a sixteenth
HALVINGS = len(WIDTHS) - 1
STRIDE = 2**HALVINGS
NORMS: dict[str, Any] = {
    "instance": ("INSTANCE", {"affine": True}),
    "batch": "BATCH",
}


def unet3d(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 3,
    base_channels: int = 16,
    residual_units: int = 2,
    norm: Literal["instance", "batch"] = "instance",
    dropout: float = 0.0,
    activation_checkpointing: bool = False,
) -> nn.Module:
    """UNet: [B, in_channels, D, H, W] -> logits [B, num_outputs, D, H, W], any size; or images [B, C, H, W].

    Args:
        base_channels: at full resolution; 2, 4, 8 and 16 times as many below.
        residual_units: convolutions of each level, with a residual connection around them; 0: one, and none.
        norm: "instance" suits the small batches that volumes allow; "batch" needs 2 or more a batch.
        dropout: rate, behind every convolution.
        activation_checkpointing: see `checkpointing.py`.

    Raises:
        UserError: an unknown norm, or other than 2 or 3 spatial dimensions.
    """
    images_or_volumes("unet3d", spatial_dims)
    if norm not in NORMS:
        raise UserError(f"backbone.norm={norm}: expected one of {', '.join(NORMS)}.")
    network = _build_unet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        num_outputs=num_outputs,
        base_channels=base_channels,
        residual_units=residual_units,
        norm=norm,
        dropout=dropout,
    )
    notes = checkpoint_if_asked(network, activation_checkpointing)
    # Two voxels a side at the bottom: instance normalisation cannot do with one.
    return PadToMultiple(network, STRIDE, 2 * STRIDE, notes=notes)


def _build_unet(
    spatial_dims: int,
    in_channels: int,
    num_outputs: int,
    base_channels: int,
    residual_units: int,
    norm: str,
    dropout: float,
) -> nn.Module:
    from monai.networks.nets import UNet  # MONAI takes seconds to import

    network: nn.Module = UNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=num_outputs,
        channels=[base_channels * width for width in WIDTHS],
        strides=[2] * HALVINGS,
        num_res_units=residual_units,
        norm=NORMS[norm],
        dropout=dropout,
    )
    return network
