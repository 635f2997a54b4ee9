"""What the keys of conf/ may hold: types, ranges and choices, checked by `checking.py` before anything runs.

A field with a default may be left out of the YAML; it is then filled in. A section whose `_target_` names the
code to run takes that code's arguments besides its fields, see `Component`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from genseg_betty.config.kinds import Range, Tag

Count = Annotated[int, Range(least=0)]
Positive = Annotated[int, Range(least=1)]
Fraction = Annotated[float, Range(least=0, below=1)]
Weight = Annotated[float, Range(least=0)]
Rate = Annotated[float, Range(least=0)]  # 0 freezes what it belongs to
Side = Annotated[int, Range(least=32, most=4096)]
ImageSize = Side | tuple[Side, Side] | tuple[Side, Side, Side]
Byte = Annotated[int, Range(least=0, most=255)]
Step = Annotated[float, Range(above=0)]  # mm
Colour = tuple[Byte, Byte, Byte]  # red, green, blue
OtherDataset = str | dict[str, Any]
Border = Literal["zeros", "border", "reflection"]


@dataclass
class Split:
    """Which cases are tested on: globs of a published test part, or a file that names every part's cases.

    `test_groups`, globs too, are text files that name a group of the test part in each line. An `optional` test part
    may be missing: 30 % of the cases are then set aside for it. A `published` split is the publisher's own: where it
    parts copies of one picture that is told, and no fault.
    """

    test: list[str] | None = None
    test_groups: list[str] | None = None
    optional: bool = False
    published: bool = False
    file: str | None = None


@dataclass
class Dataset:
    """Keys of every dataset, whatever it is read from."""

    name: str = ""
    metric: Literal["dice", "jaccard"] = "dice"
    image_size: ImageSize | None = 256
    title: str = ""
    task: str = ""
    modality: str = ""
    channels: Literal[1, 3] | None = None
    intensity: Literal["8-bit", "percentiles", "each"] | tuple[float, float] | None = None
    spacing: tuple[Step, Step, Step] | None = None
    n_labelled: Annotated[int, Range(least=2)] | None = None
    n_test: Count | None = None
    ood: list[OtherDataset] = field(default_factory=list)
    root: str | None = None
    labels: dict[str, int] | dict[str, Colour] | None = None
    foreground: list[str] | None = None
    unlabelled: bool | list[str] = False
    group: str | None = None
    split: Split | None = None
    folds: Annotated[int, Range(least=2)] | Literal["all"] | None = None
    fold: Count | None = None
    copies: Literal["allow"] | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class FileDataset(Dataset):
    """Images and masks below a root folder, found by globs."""

    reader: Literal["files"] = "files"
    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    mask_required: Literal["all", "any"] = "all"
    classes: list[str] | None = None
    threshold: Annotated[int, Range(least=0, most=65534)] | None = None
    stem: str | None = None
    group_starts: list[Count] | None = None
    ignore: list[str] = field(default_factory=list)
    scaled_masks: bool = False
    range: tuple[float, float] | None = None
    convert: str | None = None


@dataclass
class PhantomDataset(Dataset):
    """Procedural images; nothing is read."""

    reader: Literal["phantom"] = "phantom"
    kind: Literal["lung", "lesion", "vessel"] = "lung"
    domain: Literal["source", "shifted"] = "source"
    size: Side = 96
    count: Annotated[int, Range(least=4)] = 120
    seed: Count = 0


@dataclass(kw_only=True)
class Component:
    """A section that names code: `_target_` is imported and later called with the section's other keys.

    `supplied` are the arguments that the program adds, `offered` those that it adds where they are taken. `arguments`
    types some others more narrowly than their signatures do; a key that the target does not take is a fault all the
    same.
    """

    supplied: ClassVar[tuple[str, ...]] = ()
    offered: ClassVar[tuple[str, ...]] = ("spatial_dims",)
    arguments: ClassVar[dict[str, Any]] = {}

    _target_: str


@dataclass(kw_only=True)
class Backbone(Component):
    supplied: ClassVar = ("in_channels", "num_outputs")
    arguments: ClassVar = {"base_channels": Positive}

    name: str = ""


@dataclass(kw_only=True)
class Opponent(Component):
    """H of stage I, which stands against the generator."""

    supplied: ClassVar = ("in_channels",)
    arguments: ClassVar = dict.fromkeys(("base_channels", "layers", "scales", "latent_channels"), Positive)

    _target_: str = "genseg_betty.generators.discriminators.PatchDiscriminator"


@dataclass(kw_only=True)
class Objective(Component):
    """The losses of stage I."""

    arguments: ClassVar = {
        **dict.fromkeys(("l1_weight", "feature_weight", "penalty_weight", "reconstruct_drawn"), Weight),
        **dict.fromkeys(("beta_rec", "beta_kl", "beta_neg", "variance", "eta"), Weight),
        "latent_channels": Positive,
    }

    _target_: str = "genseg_betty.generators.objectives.ConditionalGAN"


@dataclass(kw_only=True)
class Generator(Component):
    supplied: ClassVar = ("in_channels", "out_channels", "image_size")
    arguments: ClassVar = {
        "base_channels": Positive,
        "max_channels": Positive,
        "depth": Positive | None,
        "latent_channels": Positive,
        **dict.fromkeys(("hidden_channels", "mlp_channels", "tile"), Positive | None),
        **dict.fromkeys(("mlp_layers", "blocks"), Positive),
        "temperature": Annotated[float, Range(above=0)],
        "dropout": Fraction,
        "kernels": list[Positive],
        "searched": Literal["both", "decoder", "encoder"],
    }

    name: str = ""
    alpha: Literal["softmax", "sigmoid"] = "softmax"
    branches: Literal["learnable", "fixed", "single"] = "learnable"
    objective: Objective = field(default_factory=Objective)
    discriminator: Opponent | None = field(default_factory=Opponent)


@dataclass(kw_only=True)
class Method(Component):
    arguments: ClassVar = {"real_weight": Weight}

    name: str = ""


@dataclass(kw_only=True)
class Augment(Component):
    offered: ClassVar = ("spacing",)
    arguments: ClassVar = {
        "rotate": Annotated[float, Range(least=0, most=180)],
        "flip": list[Literal[0, 1, 2]],
        "translate": Fraction,
        "mask_border": Border,
        "pair_border": Border,
    }


@dataclass
class Adam:
    name: Literal["adam", "adamw"]
    lr: Rate
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Annotated[float, Range(above=0)] = 1e-8
    weight_decay: Weight = 0.0


@dataclass
class RMSprop:
    name: Literal["rmsprop"]
    lr: Rate
    alpha: Fraction = 0.99
    eps: Annotated[float, Range(above=0)] = 1e-8
    momentum: Fraction = 0.0
    weight_decay: Weight = 0.0


@dataclass
class SGD:
    name: Literal["sgd"]
    lr: Rate
    momentum: Fraction = 0.0
    weight_decay: Weight = 0.0


Optimizer = Annotated[Adam | RMSprop | SGD, Tag("name")]


@dataclass
class Optimizers:
    segmenter: Optimizer
    generator: Optimizer
    discriminator: Optimizer
    architecture: Optimizer


@dataclass
class Small:
    """Sizes that every network takes over: its YAML says `${oc.select:trainer.small.base_channels,64}`."""

    base_channels: Positive | None = None
    max_channels: Positive | None = None
    image_size: ImageSize | None = None


@dataclass
class Trainer:
    name: str
    iterations: Count
    warmup_iterations: Count
    batch_size: Positive | None
    validate_every: Positive | None
    checkpoint_every: Positive
    sample_every: Positive
    optimizers: Optimizers
    finetune_iterations: Count = 0
    ema_decay: Fraction = 0.0
    select: Literal["last", "best"] = "last"
    loss: Literal["auto", "bce", "bce_dice", "ce", "ce_dice"] = "auto"
    scheduler: Literal["none", "plateau"] = "none"
    max_nonfinite: Positive = 20
    small: Small | None = None
    warm_start: str | None = None
    keep_warmup: bool = True


@dataclass
class CSVLogger:
    name: Literal["csv"]


@dataclass
class WandbLogger:
    name: Literal["wandb"]
    project: str = "genseg"
    entity: str | None = None
    mode: Literal["offline", "online", "disabled"] = "offline"


@dataclass
class Launcher:
    name: str


@dataclass
class Config:
    """The whole tree, as conf/config.yaml composes it."""

    dataset: Annotated[FileDataset | PhantomDataset, Tag("reader", "files")]
    backbone: Backbone
    generator: Generator
    method: Method
    augment: Augment
    trainer: Trainer
    logger: Annotated[CSVLogger | WandbLogger, Tag("name")]
    launcher: Launcher
    image_size: ImageSize | None
    seed: Annotated[int, Range(least=0, below=2**32)] = 0
    name: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    graphs: Literal["auto", "never"] = "auto"
    ood: list[OtherDataset] = field(default_factory=list)
    hypergradient: Literal["exact", "exact_full", "finite_difference", "none"] = "exact"
    precondition: Literal["step", "identity"] = "step"
    arch_every: Positive = 1
    run_dir: str | None = None
    resume: Literal["auto", "never", "restart"] = "auto"


REPLACED = frozenset({"dataset.labels", "dataset.split", "dataset.about"})
"""Sections with keys of the user's own: `key={…}` on the command line replaces them, not merges into them."""

TAGS = frozenset({"name", "reader", "_target_"})
"""A `{…}` that holds one of these says what kind of section it is, and so replaces the old one as well."""
