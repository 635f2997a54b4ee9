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

from genseg_betty.backbones.checkpointing import checkpoint_if_asked
from genseg_betty.backbones.dimensions import images_only
from genseg_betty.backbones.encoder_input import PretrainedNetwork
from genseg_betty.backbones.encoders import list_frozen_notes, list_nearest
from genseg_betty.backbones.feature_dropout import EncoderOutput
from genseg_betty.backbones.swin_stages import PATCH, Stages
from genseg_betty.errors import UserError


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
        base_channels, depths, decoder_depths, heads, window, drop_path: see `Stages`.
        encoder_weights: a Swin of timm, such as "swin_tiny_patch4_window7_224", whose pretrained weights are
            downloaded, stage by stage as many blocks as `depths` has; None: random weights.
        frozen_encoder: its weights stay as they are.
        activation_checkpointing: see `checkpointing.py`.

    Raises:
        UserError: sizes that do not fit each other, unknown or unreachable weights, volumes.
    """
    images_only("swinunet", spatial_dims)
    stages = Stages(base_channels, depths, decoder_depths, heads, window, drop_path)
    network = SwinUNet(in_channels, num_outputs, stages)
    frozen = ("encoder",) if frozen_encoder else ()
    notes = list_frozen_notes(frozen_encoder, encoder_weights)
    notes += checkpoint_if_asked(network, activation_checkpointing)
    pretrained = PretrainedNetwork(network, stages.stride, frozen=frozen, notes=notes)
    if encoder_weights is not None:
        published = _load_encoder(network.encoder, encoder_weights, in_channels, window)
        pretrained.encoder_input.expect(in_channels, published["mean"], published["std"])
    return pretrained


class SwinUNet(nn.Module):
    """The network itself; H and W must be divisible by the stride of its last stage."""

    def __init__(self, in_channels: int, num_outputs: int, stages: Stages) -> None:
        super().__init__()
        width = stages.base_channels
        self.encoder = _build_encoder(in_channels, stages)
        self.features = EncoderOutput()
        self.decoder = _build_decoder(stages)
        self.norm = nn.LayerNorm(width)
        self.expand = PatchExpand(width, width, PATCH)
        self.head = nn.Linear(width, num_outputs, bias=False)
        for part in (self.decoder, self.expand, self.head):
            part.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        features = self.features(self.encoder.forward_intermediates(image, norm=True, intermediates_only=True))
        # Swin's blocks take [B, H, W, C].
        *skips, x = [torch.movedim(feature, 1, -1) for feature in features]
        for up in self.decoder:
            x = up(x, skips.pop())
        expanded = self.expand(self.norm(x))
        return self.head(expanded).permute(0, 3, 1, 2)


def _build_encoder(in_channels: int, stages: Stages) -> Any:
    from timm.models.swin_transformer import SwinTransformer  # timm takes seconds to import

    return SwinTransformer(
        patch_size=PATCH,
        in_chans=in_channels,
        num_classes=0,
        embed_dim=stages.base_channels,
        depths=tuple(stages.depths),
        num_heads=tuple(stages.heads),
        window_size=stages.window,
        always_partition=True,
        strict_img_size=False,
        drop_path_rate=stages.drop_path,
    )


def _build_decoder(stages: Stages) -> nn.ModuleList:
    """The stages from the smallest map to stride 4; blocks are skipped at rates that fall from `drop_path` to 0."""
    decoder = nn.ModuleList()
    blocks = sum(stages.decoder_depths)
    rates = torch.linspace(stages.drop_path, 0, blocks).tolist()
    rising_widths = stages.widths[-2::-1]
    rising_heads = stages.heads[-2::-1]
    for width, depth, heads in zip(rising_widths, stages.decoder_depths, rising_heads, strict=True):
        stage = _Up(width, heads, stages.window, rates[:depth])
        decoder.append(stage)
        rates = rates[depth:]
    return decoder


class PatchExpand(nn.Module):
    """[B, H, W, in_channels] -> [B, factor * H, factor * W, out_channels]: each patch becomes factor x factor."""

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.linear = nn.Linear(in_channels, factor**2 * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        factor = self.factor
        x = self.linear(x)
        x = x.reshape(batch, height, width, factor, factor, -1)
        x = x.permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, height * factor, width * factor, -1)
        return self.norm(x)


class _Up(nn.Module):
    """Doubles the size, halves the channels, joins the encoder's feature of that size; Swin blocks."""

    def __init__(self, width: int, heads: int, window: int, drop_path: Sequence[float]) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformerBlock

        self.expand = PatchExpand(2 * width, width, 2)
        self.join = nn.Linear(2 * width, width)
        self.blocks = nn.Sequential()
        for index, rate in enumerate(drop_path):
            block = SwinTransformerBlock(
                width,
                input_resolution=(window, window),  # any: partition and mask are made for each image
                num_heads=heads,
                window_size=window,
                shift_size=window // 2 if index % 2 else 0,
                always_partition=True,
                dynamic_mask=True,
                drop_path=rate,
            )
            self.blocks.append(block)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat([self.expand(x), skip], dim=-1)
        return self.blocks(self.join(x))


def _initialise(module: nn.Module) -> None:
    """As the authors: linear layers from a truncated normal distribution."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _load_encoder(encoder: nn.Module, name: str, in_channels: int, window: int) -> dict[str, Any]:
    """Takes over the pretrained weights of timm's model `name`; timm fits window and input channels.

    Returns what timm publishes of the weights, the mean and std of their images among it.
    """
    import timm

    known = timm.list_models("swin_*")
    architecture, _, _ = name.partition(".")
    if architecture not in known:
        near = list_nearest(name, known)
        raise UserError(f"backbone.encoder_weights={name}: timm has no such Swin. Nearest: {near}.")
    shape: dict[str, Any] = {
        "in_chans": in_channels,
        "window_size": window,
        "always_partition": True,
    }
    try:
        source: Any = timm.create_model(name, pretrained=True, num_classes=0, **shape)
    except Exception as error:  # what a download ends in is up to the libraries below timm
        raise UserError(
            f"backbone.encoder_weights={name} is out of reach ({type(error).__name__}: {error}). Go online once, set "
            "backbone.encoder_weights=null for random weights, or choose backbone=unet backbone.encoder_weights=lite0, "
            "whose weights need no download."
        ) from error
    weights = source.state_dict()
    own = encoder.state_dict()
    misfits = []
    for key, value in own.items():
        if key not in weights or weights[key].shape != value.shape:
            misfits.append(key)
    if misfits:
        raise UserError(
            f"backbone.encoder_weights={name} does not fit: of {len(own)} tensors, {len(misfits)} have another shape "
            f"there or are missing, first {misfits[0]}. Expected backbone.base_channels={source.embed_dim} and no "
            "stage deeper than its own."
        )
    encoder.load_state_dict({key: weights[key] for key in own})
    published: dict[str, Any] = source.pretrained_cfg
    return published
