"""Passes and steps of the levels on tensors without values: what they take, and whether they can be made at all."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genseg_betty.backbones.probe import State, detach_state, first_line, without_values
from genseg_betty.errors import UserError
from genseg_betty.levels.stage import Computation, Networks, Stage

Shape = tuple[int, ...]


def dry_run_modules(modules: Sequence[nn.Module], run: Computation, image: Shape, condition: Shape) -> list[Tensor]:
    """Run the modules on tensors without values. Returns the weights and buffers it went through, such tensors too.

    Raises whatever the modules do, also where one of them needs values.
    """
    with without_values(*modules) as (states, empty), torch.random.fork_rng():
        run(_bind_states(modules, states), empty(image), empty(condition))
        return [value for state in states for value in state.values()]


def check_stage_one(levels: Iterable[Stage], image: Shape, condition: Shape) -> None:
    """Require that those of `levels` that belong to stage I can make a step on random images. No state changes.

    This is for levels whose dry run failed: what is wrong may be the step, or the run without values alone.

    Raises:
        UserError: generator, discriminator and objective do not fit the images or each other.
    """
    for level in levels:
        if not level.is_stage_one:
            continue
        try:
            _run_with_values(*level.dry_step(), image, condition)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the {level.name} of stage I cannot make a step on images of {list(image[1:])}: "
                f"{type(error).__name__}: {first_line(error)}. Choose an image_size or generator.* options that go "
                "together (fewer generator.discriminator.layers or .scales for small images; one latent_channels "
                "for the generator, its discriminator and its objective)."
            ) from error


def _run_with_values(modules: Sequence[nn.Module], run: Computation, image: Shape, condition: Shape) -> None:
    """Run copies of the modules on random images and masks."""
    states = []
    for module in modules:
        states.append({name: value.clone() for name, value in detach_state(module).items()})
    like = next(modules[0].parameters(), torch.empty(0))
    with torch.random.fork_rng():
        images = torch.rand(image).to(like) * 2 - 1
        conditions = torch.rand(condition).to(like) * 2 - 1
        run(_bind_states(modules, states), images, conditions)


def _bind_states(modules: Sequence[nn.Module], states: Sequence[State]) -> Networks:
    """The modules as functions that go through these states, which learn where the modules' own weights do."""
    networks: list[Callable[..., Any]] = []
    for module, state in zip(modules, states, strict=True):
        for name, parameter in module.named_parameters():
            state[name].requires_grad_(parameter.requires_grad)
        networks.append(partial(_call_module, module, state))
    return networks


def _call_module(module: nn.Module, state: State, *inputs: Any) -> Any:
    return functional_call(module, state, inputs)
