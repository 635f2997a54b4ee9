"""Sections of conf/ that name code by `_target_`: what their keys may hold beside what the code's signature says."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from genseg_betty.config.marks import Length, Range
from genseg_betty.config.quantities import (
    Angle,
    Axis,
    Blurs,
    Border,
    Channels,
    Exponents,
    Factors,
    Fraction,
    ImageSize,
    Kernel,
    Layers,
    Levels,
    Positive,
    Share,
    Shrinkings,
    Weight,
    Word,
    Zooms,
)

Sizes = Annotated[list[Layers], Length(1, 16)]  # one for each stage of a network


@dataclass(kw_only=True)
class ComponentConfig:
    """A section that names code: `_target_` is imported and later called with the section's other keys.

    `supplied` are the arguments that the program adds, `offered` those that it adds where they are taken. `arguments`
    types some others more narrowly than their signatures do; a key that the target does not take is a fault all the
    same, and one that is not named here need only be plain and finite.
    """

    supplied: ClassVar[tuple[str, ...]] = ()
    offered: ClassVar[tuple[str, ...]] = ("spatial_dims",)
    arguments: ClassVar[dict[str, Any]] = {}

    _target_: Word


@dataclass(kw_only=True)
class BackboneConfig(ComponentConfig):
    supplied: ClassVar = ("in_channels", "num_outputs")
    arguments: ClassVar = {
        "base_channels": Channels,
        **dict.fromkeys(("encoder", "arch", "net"), Word),
        "encoder_weights": Word | None,
        "image_size": ImageSize | None,
        **dict.fromkeys(("depths", "decoder_depths"), Sizes),
        "heads": Sizes | None,
        "window": Annotated[int, Range(least=1, beyond=256)],
        **dict.fromkeys(("dropout", "drop_path"), Fraction),
        "residual_units": Annotated[int, Range(least=0, beyond=16)],
    }

    name: Word | Literal[""] = ""


@dataclass(kw_only=True)
class DiscriminatorConfig(ComponentConfig):
    """H of stage I, which stands against the generator."""

    supplied: ClassVar = ("in_channels",)
    arguments: ClassVar = {
        **dict.fromkeys(("base_channels", "latent_channels"), Channels),
        **dict.fromkeys(("layers", "scales"), Levels),
        "norm": Literal["instance", "batch"],
        "image_size": ImageSize | None,
    }

    _target_: Word = "genseg_betty.generators.discriminators.PatchDiscriminator"


@dataclass(kw_only=True)
class ObjectiveConfig(ComponentConfig):
    """The losses of stage I."""

    arguments: ClassVar = {
        **dict.fromkeys(("l1_weight", "feature_weight", "penalty_weight", "reconstruct_drawn"), Weight),
        **dict.fromkeys(("beta_rec", "beta_kl", "beta_neg"), Weight),
        "variance": Annotated[float, Range(least=0, beyond=1e3)],
        "eta": Annotated[float, Range(least=0, beyond=1e3)],
        "latent_channels": Channels,
        **dict.fromkeys(("times", "steps", "differentiated"), Annotated[int, Range(least=1, beyond=100_000)]),
    }

    _target_: Word = "genseg_betty.generators.objectives.ConditionalGAN"


@dataclass(kw_only=True)
class GeneratorConfig(ComponentConfig):
    supplied: ClassVar = ("in_channels", "out_channels", "image_size")
    arguments: ClassVar = {
        **dict.fromkeys(("base_channels", "max_channels", "latent_channels"), Channels),
        **dict.fromkeys(("hidden_channels", "mlp_channels"), Channels | None),
        "depth": Levels | None,
        "tile": Positive | None,
        **dict.fromkeys(("mlp_layers", "blocks"), Layers),
        "temperature": Annotated[float, Range(least=1e-3, most=1e3)],
        "dropout": Fraction,
        "kernels": Annotated[list[Kernel], Length(1, 8)],
        "searched": Literal["both", "decoder", "encoder"],
        "fused": Literal["auto", "always", "never"],
    }

    name: Word | Literal[""] = ""
    alpha: Literal["softmax", "sigmoid"] = "softmax"
    branches: Literal["learnable", "fixed", "single"] = "learnable"
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    discriminator: DiscriminatorConfig | None = field(default_factory=DiscriminatorConfig)


@dataclass(kw_only=True)
class OperationConfig:
    """An operation on intensities: the share of images that it acts on, and of their channels."""

    probability: Share
    channels: Share = 1.0


@dataclass(kw_only=True)
class FactorConfig(OperationConfig):
    range: Factors


@dataclass(kw_only=True)
class BlurConfig(OperationConfig):
    range: Blurs


@dataclass(kw_only=True)
class ResolutionConfig(OperationConfig):
    range: Shrinkings


@dataclass(kw_only=True)
class GammaConfig(OperationConfig):
    range: Exponents


@dataclass(kw_only=True)
class IntensityConfig:
    """Operations on intensities in the order in which they act; null leaves one out."""

    noise: FactorConfig | None = None
    blur: BlurConfig | None = None
    brightness: FactorConfig | None = None
    contrast: FactorConfig | None = None
    low_resolution: ResolutionConfig | None = None
    inverted_gamma: GammaConfig | None = None
    gamma: GammaConfig | None = None


@dataclass(kw_only=True)
class MethodConfig(ComponentConfig):
    arguments: ClassVar = {
        **dict.fromkeys(("real_weight", "consistency_weight", "adversarial_weight", "correction_weight"), Weight),
        **dict.fromkeys(("epsilon", "threshold", "cutmix"), Share),
        "epochs": Positive | None,
        "second_backbone": Word | None,
        "temperature": Annotated[float, Range(least=0.01, most=10)],
        "strong": IntensityConfig | None,
    }

    name: Word | Literal[""] = ""


@dataclass(kw_only=True)
class ElasticConfig:
    cells: Annotated[int, Range(least=1, most=64)]
    shift: Annotated[float, Range(least=0, most=0.4)]  # beyond that images may fold
    probability: Share = 1.0


@dataclass(kw_only=True)
class AugmentConfig(ComponentConfig):
    offered: ClassVar = ("spacing", "copy_paste")
    arguments: ClassVar = {
        "rotate": Angle,
        "rotate_volumes": Angle | None,
        "flip": Annotated[list[Axis], Length(0, 3)],
        "translate": Fraction,
        "scale": Zooms | None,
        **dict.fromkeys(("rotate_probability", "scale_probability"), Share),
        **dict.fromkeys(("mask_border", "pair_border"), Border),
        "elastic": ElasticConfig | None,
        "intensity": IntensityConfig | None,
    }
