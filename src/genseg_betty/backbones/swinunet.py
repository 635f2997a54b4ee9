"""Swin-Unet (Cao et al., ECCV Workshops 2022, arXiv:2105.05537), built of timm's Swin Transformer.

Encoder: Swin stages at strides 4, 8, 16 and 32. Decoder: patch expanding to twice the size, the encoder's feature of
that size joined by a linear layer, Swin blocks; after the last of three such stages, patch expanding by 4 and a
linear head. 27.2 M parameters at the paper's settings, which are the defaults but for the window: 7 there, for 224
pixels; 8 here, which divides the features of 256 pixels.
Against the authors' code: the encoder's features are taken behind a stage's blocks, not before them, as the paper draws
it; the mask of shifted windows follows each image's size; features smaller than a window are padded by zeros.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genseg_betty.backbones.checkpointing import NOTE as CHECKPOINTING_NOTE
from genseg_betty.backbones.checkpointing import checkpoint_blocks
from genseg_betty.backbones.dimensions import images_only
from genseg_betty.backbones.encoders import FROZEN_NOTE, nearest
from genseg_betty.backbones.padding import PadToMultiple
from genseg_betty.errors import UserError

PATCH = 4
HEAD_WIDTH = 32  # channels of an attention head, where there are so many


def swinunet(
    in_channels: int,
    num_outputs: int,
    spatial_dims: int = 2,
    base_channels: int = 96,
    depths: Sequence[int] = (2, 2, 2, 2),
    decoder_depths: Sequence[int] = (2, 2, 2),
    heads: Sequence[int] | None = None,
    window: int = 8,
    drop_path: float = 0.2,
    encoder_weights: str | None = None,
    frozen_encoder: bool = False,
    activation_checkpointing: bool = False,
) -> nn.Module:
    """Swin-Unet: [B, in_channels, H, W] -> logits [B, num_outputs, H, W], any H and W.

    Args:
        base_channels: width of the first stage (96: Swin-T), doubled by each of the others.
        depths: blocks of each encoder stage; every other block shifts its windows.
        decoder_depths: blocks of each decoder stage, from stride 16 to stride 4.
        heads: attention heads of each encoder stage, and of the decoder at the same stride; None: one for 32 channels.
        window: side of the attention windows, in features of a stage.
        drop_path: rate at which the deepest block is skipped in training; 0 for the first, rising in between.
        encoder_weights: a Swin of timm, such as "swin_tiny_patch4_window7_224", whose pretrained weights are
            downloaded, stage by stage as many blocks as `depths` has; None: random weights.
        frozen_encoder: its weights stay as they are.
        activation_checkpointing: see `checkpointing.py`.

    Raises:
        UserError: sizes that do not fit each other, unknown or unreachable weights, volumes.
    """
    images_only("swinunet", spatial_dims)
    _check_numbers(base_channels, depths, decoder_depths, heads, window, drop_path)
    widths = [base_channels * 2**level for level in range(len(depths))]
    heads = [_heads(width) for width in widths] if heads is None else heads
    _check_stages(widths, depths, decoder_depths, heads)
    network = SwinUNet(in_channels, num_outputs, widths, depths, decoder_depths, heads, window, drop_path)
    notes = []
    if encoder_weights is not None:
        _load_encoder(network.encoder, encoder_weights, in_channels, window)
    elif frozen_encoder:
        notes.append(FROZEN_NOTE)
    if activation_checkpointing:
        notes.append(CHECKPOINTING_NOTE)
        checkpoint_blocks(network)
    stride = PATCH * 2 ** (len(depths) - 1)
    return PadToMultiple(network, stride, frozen=("encoder",) if frozen_encoder else (), notes=tuple(notes))


class SwinUNet(nn.Module):
    """The network itself; H and W must be divisible by the stride of its last stage."""

    def __init__(
        self,
        in_channels: int,
        num_outputs: int,
        widths: Sequence[int],
        depths: Sequence[int],
        decoder_depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformer  # timm takes seconds to import

        self.encoder = SwinTransformer(
            patch_size=PATCH,
            in_chans=in_channels,
            num_classes=0,
            embed_dim=widths[0],
            depths=tuple(depths),
            num_heads=tuple(heads),
            window_size=window,
            always_partition=True,
            strict_img_size=False,
            drop_path_rate=drop_path,
        )
        levels = list(zip(widths[-2::-1], decoder_depths, heads[-2::-1], strict=True))
        rates = torch.linspace(drop_path, 0, sum(decoder_depths)).tolist()
        self.decoder = nn.ModuleList()
        for width, depth, number in levels:
            self.decoder.append(_Up(width, depth, number, window, rates[:depth]))
            rates = rates[depth:]
        self.norm = nn.LayerNorm(widths[0])
        self.expand = PatchExpand(widths[0], widths[0], PATCH)
        self.head = nn.Linear(widths[0], num_outputs, bias=False)
        for part in (self.decoder, self.expand, self.head):
            part.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder.forward_intermediates(image, norm=True, intermediates_only=True)
        # Swin's blocks take [B, H, W, C].
        *skips, x = [torch.movedim(feature, 1, -1) for feature in features]  # type: ignore[arg-type]
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(self.expand(self.norm(x))).permute(0, 3, 1, 2)


class PatchExpand(nn.Module):
    """[B, H, W, in_channels] -> [B, factor * H, factor * W, out_channels]: each patch becomes factor x factor."""

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.linear = nn.Linear(in_channels, factor**2 * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        x = self.linear(x).reshape(batch, height, width, self.factor, self.factor, -1)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * self.factor, width * self.factor, -1)
        return self.norm(x)


class _Up(nn.Module):
    """Doubles the size, halves the channels, joins the encoder's feature of that size; Swin blocks."""

    def __init__(self, width: int, depth: int, heads: int, window: int, drop_path: Sequence[float]) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformerBlock

        self.expand = PatchExpand(2 * width, width, 2)
        self.join = nn.Linear(2 * width, width)
        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(
                    width,
                    input_resolution=(window, window),  # any: partition and mask are made for each image
                    num_heads=heads,
                    window_size=window,
                    shift_size=window // 2 * (index % 2),
                    always_partition=True,
                    dynamic_mask=True,
                    drop_path=drop_path[index],
                )
                for index in range(depth)
            )
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.blocks(self.join(torch.cat([self.expand(x), skip], dim=-1)))


def _heads(width: int) -> int:
    """The most heads of at least 32 channels that divide `width`."""
    return max(heads for heads in range(1, max(width // HEAD_WIDTH, 1) + 1) if width % heads == 0)


def _check_numbers(
    base_channels: int, depths: Sequence[int], decoder_depths: Sequence[int], heads: Sequence[int] | None, window: int,
    drop_path: float,
) -> None:  # fmt: skip
    problems = []
    for name, numbers in (("depths", depths), ("decoder_depths", decoder_depths), ("heads", heads)):
        if numbers is not None and (min(numbers, default=1) < 1 or (name == "depths" and not numbers)):
            problems.append(f"backbone.{name}={list(numbers)}: expected a number for each stage, all at least 1")
    for name, number in (("base_channels", base_channels), ("window", window)):
        if number < 1:
            problems.append(f"backbone.{name}={number}: expected at least 1")
    if not 0 <= drop_path < 1:
        problems.append(f"backbone.drop_path={drop_path}: expected a rate, 0 <= drop_path < 1")
    if problems:
        raise UserError("\n".join(problems))


def _check_stages(
    widths: Sequence[int], depths: Sequence[int], decoder_depths: Sequence[int], heads: Sequence[int]
) -> None:
    problems = []
    if len(decoder_depths) != len(depths) - 1:
        problems.append(
            f"backbone.decoder_depths={list(decoder_depths)}: expected {len(depths) - 1} numbers, one fewer than "
            f"backbone.depths={list(depths)}"
        )
    if len(heads) != len(depths):
        problems.append(f"backbone.heads={list(heads)}: expected {len(depths)} numbers, as many as backbone.depths")
    for width, number in zip(widths, heads, strict=False):
        if width % number:
            problems.append(
                f"backbone.heads={list(heads)}: {number} heads cannot share {width} channels (base_channels="
                f"{widths[0]}, doubled by each stage); expected a divisor, or null"
            )
    if problems:
        raise UserError("\n".join(problems))


def _initialise(module: nn.Module) -> None:
    """As the authors: linear layers from a truncated normal distribution."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _load_encoder(encoder: nn.Module, name: str, in_channels: int, window: int) -> None:
    """Takes over the pretrained weights of timm's model `name`; timm fits window and input channels."""
    import timm

    known = timm.list_models("swin_*")
    if name.partition(".")[0] not in known:
        raise UserError(f"backbone.encoder_weights={name}: timm has no such Swin. Nearest: {nearest(name, known)}.")
    shape: dict[str, Any] = {"in_chans": in_channels, "window_size": window, "always_partition": True}
    try:
        source = timm.create_model(name, pretrained=True, num_classes=0, **shape)
    except Exception as error:  # what a download ends in is up to the libraries below timm
        raise UserError(
            f"backbone.encoder_weights={name} is out of reach ({type(error).__name__}: {error}). Go online once, or "
            "set backbone.encoder_weights=null for random weights."
        ) from error
    weights = source.state_dict()
    own = encoder.state_dict()
    misfits = [key for key, value in own.items() if key not in weights or weights[key].shape != value.shape]
    if misfits:
        raise UserError(
            f"backbone.encoder_weights={name} does not fit: of {len(own)} tensors, {len(misfits)} have another shape "
            f"there or are missing, first {misfits[0]}. Expected backbone.base_channels={source.embed_dim} and no "
            "stage deeper than its own."
        )
    encoder.load_state_dict({key: weights[key] for key in own})
