"""A module as a function of its weights and buffers."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from genseg_betty.multilevel.tensor_lists import clone_together


class FunctionalModule:
    """Computes a module with its own weights and buffers, or for a while with others in their place.

    Args:
        module: the module; it is never written to but by its own forward pass.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._weights: Mapping[str, Tensor] = {}  # in place of the module's
        self._buffers: Mapping[str, Tensor] = {}  # in place of the module's

    def __call__(self, *inputs: Any) -> Any:
        replaced = {**self._weights, **self._buffers}
        if not replaced:
            return self.module(*inputs)
        return functional_call(self.module, replaced, inputs)

    @contextmanager
    def with_weights(self, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Compute the block with these weights, by name; None: with the module's own."""
        before, self._weights = self._weights, weights or {}
        try:
            yield
        finally:
            self._weights = before

    @contextmanager
    def with_copies_of(self, buffers: Mapping[str, Tensor]) -> Iterator[None]:
        """Compute the block with copies of these buffers, by name. What it writes to them is forgotten."""
        before, self._buffers = self._buffers, _clone(buffers)
        try:
            yield
        finally:
            self._buffers = before

    def restored_buffers(self) -> AbstractContextManager[None]:
        """Let the buffers (BatchNorm's running statistics) be after the block what they were before it."""
        return self.with_copies_of(self._find_buffers())

    def clone_buffers(self) -> dict[str, Tensor]:
        """Copies of the buffers in use, by name."""
        return _clone(self._find_buffers())

    def _find_buffers(self) -> Mapping[str, Tensor]:
        return self._buffers or dict(self.module.named_buffers())


def _clone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(tensors, clone_together([*tensors.values()]), strict=True))
