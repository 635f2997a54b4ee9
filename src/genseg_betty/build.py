"""Networks and optimizers from a resolved config.

Every network draws its first weights from a seed of its own, so that all methods start from the same segmenter.
"""

from collections.abc import Sequence
from dataclasses import fields
from inspect import signature
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from genseg_betty.augment import Augmentation
from genseg_betty.backbones.probe import first_line
from genseg_betty.backbones.second_order import TwiceDifferentiable
from genseg_betty.errors import UserError
from genseg_betty.generators.cells import OPERATIONS, Architecture, operations_of
from genseg_betty.generators.encoding import mask_channels
from genseg_betty.generators.objectives import Objective
from genseg_betty.generators.search_space import SearchSpace
from genseg_betty.randomness import derived_seed, seeded

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
}

# Keys of conf/generator that are no argument of the generator's constructor.
NON_CONSTRUCTOR_KEYS = (
    "name",
    "alpha",
    "branches",
    "objective",
    "discriminator",
)
SPACE_KEYS = [field.name for field in fields(SearchSpace)]


def _read_arguments(section: DictConfig, without: tuple[str, ...]) -> dict[str, Any]:
    """The keys and values of a section, but for those that are no arguments of what it builds."""
    values: dict[str, Any] = OmegaConf.to_container(section, resolve=True)  # type: ignore[assignment]
    return {key: value for key, value in values.items() if key not in without}


def _build_target(arguments: dict[str, Any], **more: Any) -> Any:
    """Hydra's `instantiate`, whose errors become a UserError: as its constructor wrote it, or of its first line."""
    try:
        return instantiate(arguments, **more)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        target = arguments["_target_"]
        problem = f"{type(cause).__name__}: {first_line(cause)}"
        raise UserError(f"{target} cannot be built as it is configured: {problem}") from cause


def build_segmenter(config: DictConfig, channels: int, num_outputs: int, spatial_dims: int = 2) -> nn.Module:
    """S: images [B, channels, *] -> logits [B, num_outputs, *]."""
    seed = derived_seed(config.seed, "segmenter")
    return _build_backbone(config.backbone, seed, channels, num_outputs, spatial_dims)


def build_second_segmenter(config: DictConfig, channels: int, num_outputs: int, spatial_dims: int = 2) -> nn.Module:
    """The second network of a method that trains two, as `build_segmenter`, with first weights of its own seed."""
    seed = derived_seed(config.seed, "second segmenter")
    return _build_backbone(config.second_backbone, seed, channels, num_outputs, spatial_dims)


def _build_backbone(section: DictConfig, seed: int, channels: int, num_outputs: int, spatial_dims: int) -> nn.Module:
    """The network of a section of conf/backbone, its first weights drawn by `seed`."""
    arguments = read_backbone(section, channels, num_outputs, spatial_dims)
    with seeded(seed):
        network = _build_target(arguments)
    if isinstance(network, TwiceDifferentiable):
        return network
    return TwiceDifferentiable(network)


def read_backbone(section: DictConfig, channels: int, num_outputs: int, spatial_dims: int) -> dict[str, Any]:
    """The `_target_` of a section of conf/backbone, and all that it is called with."""
    arguments = _read_arguments(section, ("name",))
    space = _offer_dimensions(section, spatial_dims)
    return {**arguments, "in_channels": channels, "num_outputs": num_outputs, **space}


def build_generator(config: DictConfig, num_classes: int, channels: int, image_size: tuple[int, ...]) -> nn.Module:
    """G: encoded masks and α -> images [B, channels, *]."""
    arguments = _read_arguments(config.generator, NON_CONSTRUCTOR_KEYS)
    if config.generator.branches == "single" and "kernels" in arguments:
        kernels = arguments["kernels"]
        arguments["kernels"] = kernels[:1]
    arguments |= _offer_dimensions(config.generator, len(image_size))
    arguments = gather_space(arguments)
    with seeded(derived_seed(config.seed, "generator")):
        return _build_target(
            arguments,
            in_channels=mask_channels(num_classes),
            out_channels=channels,
            image_size=list(image_size),
        )


def gather_space(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a generator with the flat keys of its `SearchSpace` gathered as `space`, where it takes that."""
    if not _names_parameter(arguments["_target_"], "space"):
        return arguments
    if "space" in arguments:
        fields_of_space = ", ".join(SPACE_KEYS)
        raise UserError(f"generator.space is no key; set its fields themselves: {fields_of_space}")
    own = {key: value for key, value in arguments.items() if key not in SPACE_KEYS}
    searched = {key: arguments[key] for key in SPACE_KEYS if key in arguments}

    # Hydra builds it in place, since it would turn a dataclass that it is handed into a config.
    target = f"{SearchSpace.__module__}.{SearchSpace.__qualname__}"
    space = {"_target_": target, "_convert_": "all", **searched}
    return {**own, "space": space}


def build_architecture(config: DictConfig, generator: nn.Module) -> Architecture:
    """A: one weight for each operation of each searchable cell of `generator`."""
    section = config.generator
    cells: dict[str, int] = generator.cells  # type: ignore[assignment]
    kernels = section.get("kernels") or [kernel for kernel, _, _ in OPERATIONS]
    operations = operations_of(kernels)
    choices = operations if any(cells.values()) else OPERATIONS
    alpha = "fixed" if section.branches == "fixed" else section.alpha
    return Architecture(cells["down"], cells["up"], choices, alpha)


def build_objective(config: DictConfig) -> Objective:
    """The losses of stage I. Raises UserError where they need a discriminator and none is named, or the reverse."""
    section = config.generator
    arguments = _read_arguments(section.objective, ())
    objective: Objective = _build_target(arguments)
    discriminator = section.get("discriminator")
    has_discriminator = discriminator is not None
    if objective.has_discriminator != has_discriminator:
        expected = "a section with a _target_" if objective.has_discriminator else "null"
        kind = type(objective).__name__
        raise UserError(f"generator.discriminator is {discriminator}; expected {expected}, for {kind}")
    return objective


def build_discriminator(config: DictConfig, num_classes: int, channels: int, spatial_dims: int = 2) -> nn.Module | None:
    """H: encoded mask and image -> a verdict, whatever its family takes for one; None where it has none."""
    section = config.generator.get("discriminator")
    if section is None:
        return None
    arguments = _read_arguments(section, ())
    space = _offer_dimensions(section, spatial_dims)
    in_channels = mask_channels(num_classes) + channels
    with seeded(derived_seed(config.seed, "discriminator")):
        return _build_target(arguments, in_channels=in_channels, **space)


def _offer_dimensions(section: DictConfig, spatial_dims: int) -> dict[str, int]:
    """`spatial_dims` for a target that takes it. Raises UserError for volumes and one that does not."""
    if _takes_argument(section, "spatial_dims") or _names_parameter(section._target_, "space"):
        return {"spatial_dims": spatial_dims}
    if spatial_dims == 2:
        return {}
    name = section.get("name") or section._target_
    raise UserError(
        f"the data are volumes, and {name} takes images alone (it has no argument spatial_dims); "
        "choose backbone=unet3d or monai, and generator=pix2pix3d"
    )


def _takes_argument(section: DictConfig, argument: str) -> bool:
    """Whether the target of a section takes the argument, by name or among others."""
    parameters = signature(get_object(section._target_)).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return takes_any or argument in parameters


def _names_parameter(target: str, argument: str) -> bool:
    """Whether the target has a parameter of that name."""
    parameters = signature(get_object(target)).parameters
    return argument in parameters


def build_named(section: DictConfig) -> Any:
    """The object that a group's YAML names by `_target_`; the group's own `name` is no argument of it."""
    arguments = _read_arguments(section, ("name",))
    return _build_target(arguments)


def build_augmentation(config: DictConfig, spacing: Sequence[float] | None) -> Augmentation:
    """What moves masks and pairs; `spacing` is that of the voxels of volumes in mm, None for images."""
    arguments = _read_arguments(config.augment, ())
    offered: dict[str, Any] = {"spacing": spacing} if _takes_argument(config.augment, "spacing") else {}
    copy_paste = config.get("copy_paste")
    if copy_paste:  # not in older Runs
        if not _takes_argument(config.augment, "copy_paste"):
            raise UserError(f"copy_paste={copy_paste}: {config.augment._target_} has no argument copy_paste; use 0")
        offered["copy_paste"] = copy_paste
    augmentation: Augmentation = _build_target(arguments, **offered)
    return augmentation


def build_optimizer(section: DictConfig, module: nn.Module) -> Optimizer:
    """The optimizer that `section` names (adam, adamw, rmsprop, sgd) over the trainable weights of `module`."""
    arguments = _read_arguments(section, ("name",))
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    kind = OPTIMIZERS[section.name]
    if kind is not RMSprop:  # the others make their step in one pass over the weights
        arguments["fused"] = True
    return kind(parameters, **arguments)


def count_parameters(module: nn.Module) -> int:
    """Numbers in all weights of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
