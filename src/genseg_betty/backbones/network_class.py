"""A class of networks from another library: what its constructor takes, and a network of it that fits a task."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from genseg_betty.backbones.encoders import list_nearest
from genseg_betty.backbones.probe import STRIDES, dry_run, find_fault, find_padding, first_line
from genseg_betty.backbones.unique_modules import register_once
from genseg_betty.errors import UserError

# What MONAI's networks, and others, call what the program supplies.
INPUTS = ("in_channels", "n_input_channels")
OUTPUTS = ("out_channels", "num_classes", "out_classes", "num_outputs")
DIMENSIONS = ("spatial_dims", "dims")
SIZES = ("img_size", "input_image_size", "image_size")
ROUND = 32  # these networks are built for the next multiple of it


def maps_channels(kind: type) -> bool:
    """Whether the constructor of a class takes the channels that come in and those that go out."""
    parameters = inspect.signature(kind).parameters.keys()
    return not parameters.isdisjoint(INPUTS) and not parameters.isdisjoint(OUTPUTS)


class FirstOutput(nn.Module):
    """The logits of a network that returns them in a list of one, or with something that is no image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        output = self.network(image)
        return output[0] if isinstance(output, list | tuple) else output


@dataclass(frozen=True)
class Task:
    """What a network is built for."""

    in_channels: int
    num_outputs: int
    spatial_dims: int


@dataclass(frozen=True)
class NetworkClass:
    """The class of a network, its constructor's parameters, and the values that the program supplies.

    Attributes:
        size: the size that a network of one size is built for; None for all others.
    """

    net: str
    kind: type[nn.Module]
    signature: Mapping[str, inspect.Parameter]
    supplied: Mapping[str, Any]
    size: list[int] | None
    task: Task

    @classmethod
    def read(
        cls, net: str, kind: type[nn.Module], task: Task, image_size: int | Sequence[int] | None
    ) -> "NetworkClass":
        """The class `kind` under the name `net`, and what it takes for this task."""
        signature = inspect.signature(kind).parameters
        size = _choose_size(net, signature, image_size, task.spatial_dims)
        offers = {
            INPUTS: task.in_channels,
            OUTPUTS: task.num_outputs,
            DIMENSIONS: task.spatial_dims,
            SIZES: size,
        }
        supplied = {}
        for names, value in offers.items():
            taken = [name for name in names if name in signature]
            if taken:
                supplied[taken[0]] = value
        return cls(net, kind, signature, supplied, size, task)

    def build_fitting(self, arguments: Mapping[str, Any]) -> tuple[nn.Module, tuple[int, int]]:
        """The network, and what `PadToMultiple` must make of the sides of its images (1, 1 for one size).

        Raises UserError where it does not map images to logits of their size.
        """
        network = self._build(arguments)
        channels = self.task.in_channels
        outputs = self.task.num_outputs
        dimensions = self.task.spatial_dims
        sides = self.size or [max(STRIDES)] * dimensions
        try:
            network = _take_single_output(network, [2, channels, *sides])
            if self.size is None:
                return network, find_padding(network, channels, outputs, dimensions)
            fault = find_fault(network, channels, outputs, self.size)
            if fault is not None:
                raise UserError(fault)
        except UserError as error:
            images = "images" if dimensions == 2 else "volumes"
            raise UserError(
                f"backbone.net={self.net} does not segment {images}: {error}\n"
                f"Change backbone.arguments or choose another network. {self._describe_usage()}"
            ) from error
        return network, (1, 1)

    def _build(self, arguments: Mapping[str, Any]) -> nn.Module:
        problems = self._find_problems(arguments)
        if not problems:
            try:
                return register_once(self.kind(**self.supplied, **arguments))
            except Exception as error:  # whatever a constructor makes of values that do not fit
                cause = f"{type(error).__name__}: {first_line(error)}"
                problems.append(f"backbone.net={self.net} could not be built: {cause}")
        raise UserError("\n".join([*problems, self._describe_usage()]))

    def _find_problems(self, arguments: Mapping[str, Any]) -> list[str]:
        """Arguments that the constructor does not take, and those that it needs and does not get."""
        problems = []
        kinds = {parameter.kind for parameter in self.signature.values()}
        takes_any = inspect.Parameter.VAR_KEYWORD in kinds
        for name, value in arguments.items():
            key = f"backbone.arguments.{name}"
            if name in self.supplied:
                problems.append(f"{key} is set by the program")
            elif name not in self.signature and not takes_any:
                near = list_nearest(name, self.signature, 1)
                problems.append(f"{key}: no such argument. Nearest: {near}")
            elif name == "use_checkpoint" and value:
                problems.append(f"{key}: set backbone.activation_checkpointing=true instead")
        for name, parameter in self.signature.items():
            is_needed = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            if is_needed and name not in self.supplied and name not in arguments:
                problems.append(f"backbone.arguments.{name}: missing")
        return problems

    def _describe_usage(self) -> str:
        """The arguments that are left to the user, with their defaults."""
        free = []
        for name, parameter in self.signature.items():
            if name in self.supplied:
                continue
            has_default = parameter.default is not parameter.empty
            free.append(f"{name}={parameter.default!r}" if has_default else name)
        return f"{self.net} takes {', '.join(free)}."


def _choose_size(
    net: str, signature: Mapping[str, Any], image_size: int | Sequence[int] | None, spatial_dims: int
) -> list[int] | None:
    """The size that a network of one size is built for; None for all others."""
    if set(SIZES).isdisjoint(signature):
        return None
    sides = [image_size] * spatial_dims if isinstance(image_size, int) else list(image_size or [])
    if len(sides) != spatial_dims:
        raise UserError(
            f"backbone.image_size={image_size}: {net} works on images of one size; expected {spatial_dims} sides."
        )
    return [side + -side % ROUND for side in sides]


def _take_single_output(network: nn.Module, shape: Sequence[int]) -> nn.Module:
    """`network`, made to return its logits alone. Raises UserError where it returns several (deep supervision)."""
    for training in (True, False):
        try:
            output = dry_run(network, shape, training)
        except Exception:  # another size may do: `find_padding` sees, and says what was wrong
            return network
        if not isinstance(output, list | tuple):
            continue
        images = 0
        for part in output:
            if isinstance(part, Tensor) and part.ndim == len(shape):
                images += 1
        if images > 1:
            raise UserError(f"it returns {images} outputs; switch deep supervision off")
        return FirstOutput(network)
    return network
