"""The switch: within it, layers are computed by functions whose second derivative is written out."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from genseg_betty.multilevel.double_backward.convolution import WRITTEN_OUT_CONVOLUTIONS
from genseg_betty.multilevel.double_backward.normalisation import batch_norm, instance_norm

REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.batch_norm: batch_norm,
    functional.instance_norm: instance_norm,
    **WRITTEN_OUT_CONVOLUTIONS,
}
"""Torch's function -> the one with the same values and first derivatives, and a second derivative of its own."""


class WrittenOutDoubleBackward(TorchFunctionMode):
    """Within it, convolutions and normalisations have a second derivative that is written out.

    Values and first derivatives are torch's own. A third derivative is refused. Each replacement leaves to torch what
    it does not cover: see `convolution.py` and `normalisation.py`.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.is_grad_enabled():
            function = REPLACEMENTS.get(function, function)
        return function(*args, **(kwargs or {}))
