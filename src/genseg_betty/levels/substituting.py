"""A module computed with other weights or buffers than its own."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from genseg_betty.multilevel.tensor_lists import clone_together


class Substituting:
    """What a level's `forward` computes with: its module, or for a while something in the place of parts of it."""

    module: nn.Module
    _active: Mapping[str, Tensor] = {}  # in place of the module's weights
    _aside: Mapping[str, Tensor] = {}  # in place of its buffers

    def forward(self, *inputs: Any) -> Any:
        replaced = {**self._active, **self._aside}
        return functional_call(self.module, replaced, inputs) if replaced else self.module(*inputs)

    @contextmanager
    def at(self, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Let `forward` use these weights in place of the module's; None: the module's."""
        self._active = weights or {}
        try:
            yield
        finally:
            self._active = {}

    def statistics_aside(self) -> AbstractContextManager[None]:
        """Let the module's buffers (BatchNorm's running statistics) learn nothing from what the block shows it."""
        return self.with_copies_of(self._buffers_in_use)

    @contextmanager
    def with_copies_of(self, buffers: Mapping[str, Tensor]) -> Iterator[None]:
        """Let `forward` use copies of these buffers, which learn in their place and are forgotten."""
        before, self._aside = self._aside, _cloned(buffers)
        try:
            yield
        finally:
            self._aside = before

    def cloned_buffers(self) -> dict[str, Tensor]:
        """Copies of the buffers in use, by name."""
        return _cloned(self._buffers_in_use)

    @property
    def _buffers_in_use(self) -> Mapping[str, Tensor]:
        return self._aside or dict(self.module.named_buffers())


def _cloned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(tensors, clone_together([*tensors.values()]), strict=True))
