"""Steps that are made only where loss and gradients are finite, without the host having to know.

To ask a GPU for one number is to wait for all that it was given before. So the verdict stays where it was found.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from genseg_betty.multilevel.tensor_lists import clone_together, restore_unless


def answers_at_once(device: torch.device | str) -> bool:
    """Whether a number that lies there can be asked for without waiting."""
    return torch.device(device).type == "cpu"


def step_if(sound: Tensor, optimizer: Optimizer) -> bool:
    """`optimizer.step()` where `sound`, a bool without dimensions; otherwise weights and state stay as they are.

    The value of `sound` is asked for where it is on the CPU, and in the first step, before there is a state to return
    to. A plain SGD has no state.

    Returns:
        False if it is known that no step was made.
    """
    fused = bool(optimizer.defaults.get("fused"))
    without_state = fused and not optimizer.defaults.get("momentum") and isinstance(optimizer, SGD)
    if answers_at_once(sound.device) or not (optimizer.state or without_state):
        known = bool(sound)
        if known:
            optimizer.step()
        return known
    if fused:
        with _told(optimizer, found_inf=(~sound).float()):
            optimizer.step()
    else:
        _step_and_return(sound, optimizer)
    return True


@contextmanager
def _told(optimizer: Optimizer, found_inf: Tensor) -> Iterator[None]:
    """Let a fused optimizer leave all as it is where `found_inf` is 1, which torch's GradScaler tells it so."""
    vars(optimizer)["found_inf"] = found_inf
    try:
        yield
    finally:
        del vars(optimizer)["found_inf"]


@torch.no_grad()
def _step_and_return(sound: Tensor, optimizer: Optimizer) -> None:
    """For an optimizer that makes its step in any case: back to what was before it."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    # What lies elsewhere is RMSprop's count of its steps, which it does not read.
    held = [tensor for tensor in (*weights, *states) if isinstance(tensor, Tensor) and tensor.device == sound.device]
    before = clone_together(held)
    optimizer.step()
    keep_if(sound, held, before)


def keep_if(sound: Tensor, tensors: list[Tensor], before: list[Tensor]) -> None:
    """Write `before` over the tensors unless `sound`."""
    if not (answers_at_once(sound.device) and sound):
        restore_unless(sound, tensors, before)
