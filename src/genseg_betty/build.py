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

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}

# Keys of conf/generator that are no argument of the generator's constructor.
BESIDE_THE_GENERATOR = ("name", "alpha", "branches", "objective", "discriminator")
SPACE_KEYS = [field.name for field in fields(SearchSpace)]


def _component(section: DictConfig, without: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = OmegaConf.to_container(section, resolve=True)  # type: ignore[assignment]
    return {key: value for key, value in values.items() if key not in without}


def _instantiate(arguments: dict[str, Any], **more: Any) -> Any:
    """Hydra's `instantiate`, whose errors become a UserError: as its constructor wrote it, or of its first line."""
    try:
        return instantiate(arguments, **more)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        problem = f"{type(cause).__name__}: {first_line(cause)}"
        raise UserError(f"{arguments['_target_']} cannot be built as it is configured: {problem}") from cause


def build_segmenter(config: DictConfig, channels: int, num_outputs: int, spatial_dims: int = 2) -> nn.Module:
    """S: images [B, channels, *] -> logits [B, num_outputs, *]."""
    arguments = _component(config.backbone, ("name",))
    space = _offer_dimensions(config.backbone, spatial_dims)
    with seeded(derived_seed(config.seed, "segmenter")):
        network = _instantiate(arguments, in_channels=channels, num_outputs=num_outputs, **space)
    return network if isinstance(network, TwiceDifferentiable) else TwiceDifferentiable(network)


def build_generator(config: DictConfig, num_classes: int, channels: int, image_size: tuple[int, ...]) -> nn.Module:
    """G: encoded masks and α -> images [B, channels, *]."""
    arguments = _component(config.generator, BESIDE_THE_GENERATOR)
    if config.generator.branches == "single" and "kernels" in arguments:
        arguments["kernels"] = arguments["kernels"][:1]
    arguments |= _offer_dimensions(config.generator, len(image_size))
    with seeded(derived_seed(config.seed, "generator")):
        return _instantiate(
            gather_space(arguments),
            in_channels=mask_channels(num_classes),
            out_channels=channels,
            image_size=list(image_size),
        )


def gather_space(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a generator with the flat keys of its `SearchSpace` gathered as `space`, where it takes that."""
    if not _takes_by_name(arguments["_target_"], "space"):
        return arguments
    if "space" in arguments:
        raise UserError(f"generator.space is no key; set its fields themselves: {', '.join(SPACE_KEYS)}")
    own = {key: value for key, value in arguments.items() if key not in SPACE_KEYS}
    searched = {key: arguments[key] for key in SPACE_KEYS if key in arguments}
    # Hydra builds it in place, since it would turn a dataclass that it is handed into a config.
    space = {"_target_": f"{SearchSpace.__module__}.{SearchSpace.__qualname__}", "_convert_": "all", **searched}
    return {**own, "space": space}


def build_architecture(config: DictConfig, generator: nn.Module) -> Architecture:
    """A: one weight for each operation of each searchable cell of `generator`."""
    cells: dict[str, int] = generator.cells  # type: ignore[assignment]
    operations = operations_of(config.generator.get("kernels") or [kernel for kernel, _, _ in OPERATIONS])
    choices = operations if any(cells.values()) else OPERATIONS
    fixed = config.generator.branches == "fixed"
    return Architecture(cells["down"], cells["up"], choices, "fixed" if fixed else config.generator.alpha)


def build_objective(config: DictConfig) -> Objective:
    """The losses of stage I. Raises UserError where they need a discriminator and none is named, or the reverse."""
    generator = config.generator
    objective: Objective = _instantiate(_component(generator.objective, ()))
    if objective.has_discriminator != (generator.get("discriminator") is not None):
        expected = "a section with a _target_" if objective.has_discriminator else "null"
        raise UserError(
            f"generator.discriminator is {generator.get('discriminator')}; expected {expected}, for "
            f"{type(objective).__name__}"
        )
    return objective


def build_discriminator(config: DictConfig, num_classes: int, channels: int, spatial_dims: int = 2) -> nn.Module | None:
    """H: encoded mask and image -> a verdict, whatever its family takes for one; None where it has none."""
    section = config.generator.get("discriminator")
    if section is None:
        return None
    arguments, space = _component(section, ()), _offer_dimensions(section, spatial_dims)
    with seeded(derived_seed(config.seed, "discriminator")):
        return _instantiate(arguments, in_channels=mask_channels(num_classes) + channels, **space)


def _offer_dimensions(section: DictConfig, spatial_dims: int) -> dict[str, int]:
    """`spatial_dims` for a target that takes it. Raises UserError for volumes and one that does not."""
    if _takes(section, "spatial_dims") or _takes_by_name(section._target_, "space"):
        return {"spatial_dims": spatial_dims}
    if spatial_dims == 2:
        return {}
    raise UserError(
        f"the data are volumes, and {section.get('name') or section._target_} takes images alone (it has no argument "
        "spatial_dims); choose backbone=unet3d or monai, and generator=pix2pix3d"
    )


def _takes(section: DictConfig, argument: str) -> bool:
    parameters = signature(get_object(section._target_)).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _takes_by_name(target: str, argument: str) -> bool:
    return argument in signature(get_object(target)).parameters


def build_named(section: DictConfig) -> Any:
    """The object that a group's YAML names by `_target_`; the group's own `name` is no argument of it."""
    return _instantiate(_component(section, ("name",)))


def build_augmentation(config: DictConfig, spacing: Sequence[float] | None) -> Augmentation:
    """What moves masks and pairs; `spacing` is that of the voxels of volumes in mm, None for images."""
    offered = {"spacing": spacing} if _takes(config.augment, "spacing") else {}
    augmentation: Augmentation = _instantiate(_component(config.augment, ()), **offered)
    return augmentation


def build_optimizer(section: DictConfig, module: nn.Module) -> Optimizer:
    """The optimizer that `section` names (adam, adamw, rmsprop, sgd) over the trainable weights of `module`."""
    arguments = _component(section, ("name",))
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    kind = OPTIMIZERS[section.name]
    if kind is not RMSprop:  # the others make their step in one pass over the weights
        arguments["fused"] = True
    return kind(parameters, **arguments)


def count_parameters(module: nn.Module) -> int:
    """Numbers in all weights of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
