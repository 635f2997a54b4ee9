"""Segmenters that a hypergradient can differentiate twice (GenSeg, Eq. 9-11).

Torch has no second derivative of its fused attention kernels nor of `hardsigmoid` (MobileNetV3). For both there is
an equal form that has one; it is used wherever gradients are on. Predictions keep the fast kernel.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from genseg_betty.backbones.unique_modules import register_once

ATTENTION = (
    "attention runs in torch's math kernel while gradients are on, as its fused kernels have no second derivative: "
    "slower and larger in training, unchanged in prediction"
)
HARDSIGMOID = "hardsigmoid is computed as relu6(x + 3) / 6, which has a second derivative"


class _Substitutes(TorchFunctionMode):
    """Swaps what has no second derivative for what has, and adds to `met` what was swapped."""

    def __init__(self, met: set[str]) -> None:
        super().__init__()
        self.met = met

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.hardsigmoid:
            self.met.add(HARDSIGMOID)
            return functional.relu6(args[0] + 3) / 6
        if function is functional.scaled_dot_product_attention:
            self.met.add(ATTENTION)
        if function is functional.multi_head_attention_forward and not kwargs.get("need_weights", True):
            self.met.add(ATTENTION)
        return function(*args, **kwargs)


@contextmanager
def second_derivatives(met: set[str] | None = None) -> Iterator[None]:
    """Operations of the block have second derivatives; without gradients it changes nothing.

    `met` collects a sentence for each kind of operation that was replaced.
    """
    if not torch.is_grad_enabled():
        yield
        return
    with sdpa_kernel(SDPBackend.MATH), _Substitutes(set() if met is None else met):
        yield


class TwiceDifferentiable(nn.Module):
    """Runs `network` with operations that have second derivatives, and warns once of what was replaced for that.

    Args:
        network: any segmenter, [B, C, *spatial] -> logits.
        frozen: names of its parts that do not learn: no gradients, and always in evaluation mode, so that their
            BatchNorm statistics stay whatever `train` is told.
        notes: what else the user should know; warned of as well, at the first step of a training.
    """

    def __init__(self, network: nn.Module, frozen: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network = register_once(network)
        self.frozen = frozen
        self.notes = set(notes)
        self.told: set[str] = set()
        for name in frozen:
            network.get_submodule(name).requires_grad_(False).eval()

    def forward(self, image: Tensor) -> Tensor:
        with second_derivatives(self.notes):
            logits = self.network(image)
        if torch.is_grad_enabled():  # a prediction has nothing to do with them
            for note in sorted(self.notes - self.told):
                warnings.warn(note, stacklevel=2)
            self.told |= self.notes
        return logits

    def train(self, mode: bool = True) -> "TwiceDifferentiable":
        super().train(mode)
        for name in self.frozen:
            self.network.get_submodule(name).eval()
        return self
