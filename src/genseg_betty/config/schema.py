"""What the keys of conf/ may hold: types, ranges and choices, checked by `checking.py` before anything runs.

A field with a default may be left out of the YAML; it is then filled in. A section whose `_target_` names the
code to run takes that code's arguments besides its fields, see `ComponentConfig`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from genseg_betty.config.components import AugmentConfig, BackboneConfig, GeneratorConfig, MethodConfig
from genseg_betty.config.launchers import LocalLauncherConfig, SlurmLauncherConfig
from genseg_betty.config.loggers import LoggerConfig
from genseg_betty.config.marks import Length, Range, Tag
from genseg_betty.config.quantities import (
    BatchSize,
    Channels,
    ClassName,
    Colour,
    Count,
    Epsilon,
    Expression,
    FilePath,
    Fraction,
    ImageFolder,
    ImageSize,
    Label,
    Name,
    Number,
    OtherDataset,
    Patterns,
    Positive,
    Rate,
    RunPath,
    Seed,
    Several,
    Share,
    Side,
    Step,
    Title,
    Weight,
    Window,
    Word,
)

Classes = Annotated[list[ClassName], Length(0, 65536)]
OtherDatasets = Annotated[list[OtherDataset], Length(0, 1000)]


@dataclass
class SplitConfig:
    """Which cases are tested on: globs of a published test part, or a file that names every part's cases.

    `test_groups`, globs too, are text files that name a group of the test part in each line. An `optional` test part
    may be missing: 30 % of the cases are then set aside for it. A `published` split is the publisher's own: where it
    parts copies of one picture that is told, and no fault.
    """

    test: Patterns | None = None
    test_groups: Patterns | None = None
    optional: bool = False
    published: bool = False
    file: FilePath | None = None


@dataclass
class DatasetConfig:
    """Keys of every dataset, whatever it is read from."""

    name: Name = ""
    metric: Literal["dice", "jaccard"] = "dice"
    image_size: ImageSize | None = 256
    title: Title = ""
    task: Title = ""
    modality: Title = ""
    channels: Literal[1, 3] | None = None
    intensity: Literal["8-bit", "percentiles", "each"] | Window | None = None
    spacing: tuple[Step, Step, Step] | None = None
    encoder_weights: Word | None = None
    n_labelled: Several | None = None
    n_test: Count | None = None
    ood: OtherDatasets = field(default_factory=list)
    root: FilePath | None = None
    labels: dict[ClassName, Label] | dict[ClassName, Colour] | None = None
    foreground: Classes | None = None
    unlabelled: bool | Patterns = False
    group: Expression | None = None
    split: SplitConfig | None = None
    folds: Several | Literal["all"] | None = None
    fold: Count | None = None
    copies: Literal["allow"] | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class FileDatasetConfig(DatasetConfig):
    """Images and masks below a root folder, found by globs."""

    reader: Literal["files"] = "files"
    images: Patterns = field(default_factory=list)
    masks: Patterns = field(default_factory=list)
    mask_required: Literal["all", "any"] = "all"
    classes: Classes | None = None
    threshold: Annotated[int, Range(least=0, most=65534)] | None = None
    stem: Expression | None = None
    group_starts: Annotated[list[Number], Length(0, 100_000)] | None = None
    ignore: Patterns = field(default_factory=list)
    scaled_masks: bool = False
    range: Window | None = None
    convert: Word | None = None


@dataclass
class PhantomDatasetConfig(DatasetConfig):
    """Procedural images; nothing is read."""

    reader: Literal["phantom"] = "phantom"
    kind: Literal["lung", "lesion", "vessel"] = "lung"
    domain: Literal["source", "shifted"] = "source"
    size: Side = 96
    count: Annotated[int, Range(least=4, beyond=100_000)] = 120
    seed: Number = 0


@dataclass
class AdamConfig:
    name: Literal["adam", "adamw"]
    lr: Rate
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Epsilon = 1e-8
    weight_decay: Weight = 0.0


@dataclass
class RMSpropConfig:
    name: Literal["rmsprop"]
    lr: Rate
    alpha: Fraction = 0.99
    eps: Epsilon = 1e-8
    momentum: Fraction = 0.0
    weight_decay: Weight = 0.0


@dataclass
class SGDConfig:
    name: Literal["sgd"]
    lr: Rate
    momentum: Fraction = 0.0
    weight_decay: Weight = 0.0


OptimizerConfig = Annotated[AdamConfig | RMSpropConfig | SGDConfig, Tag("name")]


@dataclass
class OptimizersConfig:
    segmenter: OptimizerConfig
    generator: OptimizerConfig
    discriminator: OptimizerConfig
    architecture: OptimizerConfig


@dataclass
class SmallConfig:
    """What every network takes over: its YAML says `${oc.select:trainer.small.base_channels,64}`."""

    base_channels: Channels | None = None
    max_channels: Channels | None = None
    image_size: ImageSize | None = None
    encoder_weights: Word | None = None


@dataclass
class TrainerConfig:
    name: Word
    iterations: Count
    warmup_iterations: Count
    batch_size: BatchSize | None
    validate_every: Positive | None
    checkpoint_every: Positive
    sample_every: Positive
    optimizers: OptimizersConfig
    finetune_iterations: Count = 0
    ema_decay: Fraction = 0.0
    select: Literal["last", "best"] = "last"
    loss: Literal["auto", "bce", "bce_dice", "ce", "ce_dice"] = "auto"
    scheduler: Literal["none", "plateau"] = "none"
    max_nonfinite: Positive = 20
    small: SmallConfig | None = None
    warm_start: FilePath | None = None
    keep_warmup: bool = True


@dataclass
class Config:
    """The whole tree, as conf/config.yaml composes it."""

    dataset: Annotated[FileDatasetConfig | PhantomDatasetConfig, Tag("reader", "files")]
    backbone: BackboneConfig
    generator: GeneratorConfig
    method: MethodConfig
    augment: AugmentConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    launcher: Annotated[LocalLauncherConfig | SlurmLauncherConfig, Tag("name")]
    image_size: ImageSize | None
    second_backbone: BackboneConfig | None = None  # of a method with two networks, see `second_backbone.py`
    unlabelled: Count | ImageFolder | None = None
    seed: Seed = 0
    name: Word | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    graphs: Literal["auto", "never"] = "auto"
    ood: OtherDatasets = field(default_factory=list)
    hypergradient: Literal["exact", "exact_full", "finite_difference", "none"] = "exact"
    precondition: Literal["step", "identity"] = "step"
    arch_every: Positive = 1
    copy_paste: Share = 0.0
    run_dir: RunPath | None = None
    resume: Literal["auto", "never", "restart"] = "auto"


REPLACED = frozenset({"dataset.labels", "dataset.split", "dataset.about"})
"""Sections with keys of the user's own: `key={…}` on the command line replaces them, not merges into them."""

TAGS = frozenset({"name", "reader", "_target_"})
"""A `{…}` that holds one of these says what kind of section it is, and so replaces the old one as well."""
