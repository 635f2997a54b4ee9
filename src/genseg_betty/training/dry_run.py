"""Passes and steps of the levels on tensors without values: what they take, and whether they can be made at all."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genseg_betty.backbones.probe import State, first_line, state_of, without_values
from genseg_betty.errors import UserError
from genseg_betty.levels.generation import Discrimination, Generation
from genseg_betty.levels.segmentation import Segmentation
from genseg_betty.multilevel.level import Level

Calls = Sequence[Callable[..., Any]]  # networks as functions
Run = Callable[[Calls, Tensor, Tensor], Any]  # of those, images and encoded masks
Shape = tuple[int, ...]


def rehearse(networks: Sequence[nn.Module], run: Run, image: Shape, condition: Shape) -> list[Tensor]:
    """Runs on tensors without values. Returns the weights and buffers that it went through, such tensors too.

    Raises whatever the networks do, also where one of them needs values.
    """
    with without_values(*networks) as (states, empty), torch.random.fork_rng():
        run(_calls(networks, states), empty(image), empty(condition))
        return [value for state in states for value in state.values()]


def check_stage_one(levels: Iterable[Level], image: Shape, condition: Shape) -> None:
    """That those of `levels` that belong to stage I can make a step, tried on random images. No state changes.

    For those whose step could not be rehearsed: what is wrong may be the step, or the rehearsal alone.

    Raises:
        UserError: generator, opponent and objective do not fit the images or each other.
    """
    for level in levels:
        if not isinstance(level, Generation | Discrimination):
            continue
        try:
            _with_values(*one_step(level), image, condition)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the {level.name} of stage I cannot make a step on images of {list(image[1:])}: "
                f"{type(error).__name__}: {first_line(error)}. Choose an image_size or generator.* options that go "
                "together (fewer generator.discriminator.layers or .scales for small images; one latent_channels "
                "for the generator, its discriminator and its objective)."
            ) from error


def _with_values(networks: Sequence[nn.Module], run: Run, image: Shape, condition: Shape) -> None:
    states = [{name: value.clone() for name, value in state_of(network).items()} for network in networks]
    some = next(networks[0].parameters(), torch.empty(0))
    with torch.random.fork_rng():
        pair = (torch.rand(shape).to(some) * 2 - 1 for shape in (image, condition))
        run(_calls(networks, states), *pair)


def _calls(networks: Sequence[nn.Module], states: Sequence[State]) -> Calls:
    """The networks as functions that go through these states, which learn where the networks' own do."""
    for network, state in zip(networks, states, strict=True):
        for name, parameter in network.named_parameters():
            state[name].requires_grad_(parameter.requires_grad)
    return [partial(_call, network, state) for network, state in zip(networks, states, strict=True)]


def _call(network: nn.Module, state: State, *inputs: Any) -> Any:
    return functional_call(network, state, inputs)


def one_pass(level: Level) -> tuple[list[nn.Module], Run]:
    """The level's network alone, once."""

    def run(calls: Calls, image: Tensor, condition: Tensor) -> Any:
        if isinstance(level, Generation):
            return level.objective.draw(_at_choices(level, calls[0]), condition)
        return calls[0](condition, image) if isinstance(level, Discrimination) else calls[0](image)

    return [level.module], run


def one_step(level: Level) -> tuple[list[nn.Module], Run]:
    """The networks that the level's loss goes through, its own first, and what keeps as many bytes as that loss."""

    def of_opponent(calls: Calls, image: Tensor, condition: Tensor) -> Any:
        rival = level.generator
        return rival.objective.opponent_loss(_at_choices(rival, calls[1]), calls[0], condition, image)

    def of_generator(calls: Calls, image: Tensor, condition: Tensor) -> Any:
        return level.objective.generator_loss(_at_choices(level, calls[0]), calls[-1], condition, image)

    def of_synthetic_and_real(calls: Calls, image: Tensor, condition: Tensor) -> Any:
        return calls[0](image), calls[0](image)

    if isinstance(level, Discrimination):
        return [level.module, level.generator.module], of_opponent
    if isinstance(level, Generation):
        return [level.module, *([level.discriminator.module] if level.objective.has_opponent else [])], of_generator
    return ([level.module], of_synthetic_and_real) if isinstance(level, Segmentation) else one_pass(level)


def _at_choices(level: Generation, call: Callable[..., Any]) -> Callable[..., Any]:
    """G at the architecture A."""
    # No graph of α's own may outlive this: its nodes would tie α to the stream of the rehearsal.
    with torch.no_grad():
        weights = {} if level.search_weights is None else level.search_weights()
    choices = {half: weight.detach().requires_grad_() for half, weight in weights.items()} or None
    return lambda *inputs: call(*inputs, choices)
