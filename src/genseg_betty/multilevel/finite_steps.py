"""Steps that are made only where loss and gradients are finite, without the host having to know.

To ask a GPU for one number is to wait for all that it was given before. So the verdict stays on the device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from genseg_betty.multilevel.tensor_lists import clone_together, restore_unless


class FiniteSteps:
    """Makes the steps of one level where they are finite, and counts the others.

    Attributes:
        gradient_norm: of the last step, a number without dimensions on the device; None before the first step.
        step_skipped: whether the host knows that the last step was not made.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.gradient_norm: Tensor | None = None
        self.step_skipped = False
        self._skipped, self._skipped_in_row = torch.zeros(2, dtype=torch.int64, device=device).unbind()

    @property
    def step_finite(self) -> Tensor:
        """Whether the last step was made: a bool without dimensions, on the device."""
        return self._skipped_in_row == 0

    @property
    def skipped(self) -> int:
        """Steps that were not made. Waits for the device."""
        return int(self._skipped)

    @property
    def skipped_in_row(self) -> int:
        """Consecutive steps, the last one included, that were not made. Waits for the device."""
        return int(self._skipped_in_row)

    def find_finite(self, loss: Tensor, gradients: list[Tensor]) -> Tensor:
        """Whether loss and gradients are finite: a bool without dimensions. False where there is no gradient."""
        if not gradients:
            return torch.zeros_like(self._skipped, dtype=torch.bool)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.gradient_norm = write_into(self.gradient_norm, norm)
        return torch.isfinite(self.gradient_norm + loss)

    def make_step(self, finite: Tensor, optimizer: Optimizer, buffers: list[Tensor], before: list[Tensor]) -> None:
        """Step the optimizer where `finite`; otherwise write what the buffers were `before` over them."""
        self.step_skipped = not step_if(finite, optimizer)
        keep_if(finite, buffers, before)
        self._skipped += ~finite
        self._skipped_in_row.add_(1).mul_(~finite)

    def state_dict(self) -> dict[str, Any]:
        return {
            "skipped": self.skipped,
            "skipped_in_row": self.skipped_in_row,
            "gradient_norm": self.gradient_norm,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._skipped.fill_(state["skipped"])
        self._skipped_in_row.fill_(state["skipped_in_row"])
        norm = state.get("gradient_norm")  # not in older Runs
        self.gradient_norm = None if norm is None else norm.detach().to(self._skipped.device, copy=True)


def write_into(place: Tensor | None, value: Tensor) -> Tensor:
    """`place` with `value` written into it, which a captured step reads and writes; a copy where there is none yet."""
    if place is None or place.dtype != value.dtype:
        return value.detach().clone()
    return place.copy_(value)


def answers_at_once(device: torch.device | str) -> bool:
    """Whether a number that lies there can be asked for without waiting."""
    return torch.device(device).type == "cpu"


def step_if(finite: Tensor, optimizer: Optimizer) -> bool:
    """`optimizer.step()` where `finite`, a bool without dimensions; otherwise weights and state stay as they are.

    The value of `finite` is asked for where it is on the CPU, and in the first step, before there is a state to return
    to. A plain SGD has no state.

    Returns:
        False if it is known that no step was made.
    """
    fused = bool(optimizer.defaults.get("fused"))
    without_state = fused and not optimizer.defaults.get("momentum") and isinstance(optimizer, SGD)
    if answers_at_once(finite.device) or not (optimizer.state or without_state):
        known = bool(finite)
        if known:
            optimizer.step()
        return known
    if fused:
        with _with_verdict(optimizer, found_inf=(~finite).float()):
            optimizer.step()
    else:
        _step_and_return(finite, optimizer)
    return True


@contextmanager
def _with_verdict(optimizer: Optimizer, found_inf: Tensor) -> Iterator[None]:
    """Let a fused optimizer leave all as it is where `found_inf` is 1, which torch's GradScaler tells it so."""
    vars(optimizer)["found_inf"] = found_inf
    try:
        yield
    finally:
        del vars(optimizer)["found_inf"]


@torch.no_grad()
def _step_and_return(finite: Tensor, optimizer: Optimizer) -> None:
    """For an optimizer that makes its step in any case: back to what was before it."""
    values: list[Any] = []
    for group in optimizer.param_groups:
        values += group["params"]
    for state in optimizer.state.values():
        values += state.values()
    tensors = [value for value in values if isinstance(value, Tensor)]
    # What lies elsewhere is RMSprop's count of its steps, which it does not read.
    held = [tensor for tensor in tensors if tensor.device == finite.device]
    before = clone_together(held)
    optimizer.step()
    keep_if(finite, held, before)


def keep_if(finite: Tensor, tensors: list[Tensor], before: list[Tensor]) -> None:
    """Write `before` over the tensors unless `finite`."""
    if not (answers_at_once(finite.device) and finite):
        restore_unless(finite, tensors, before)
