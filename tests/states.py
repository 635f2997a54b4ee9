"""What networks, optimizers and checkpoints hold, taken apart and compared to the bit."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def flat(state: Any, place: str = "") -> dict[str, Any]:
    """The leaves of nested dicts, lists and tuples by their place, /like/this/0."""
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else None
    if items is None:
        return {place: state}
    return {k: v for key, value in items for k, v in flat(value, f"{place}/{key}").items()}


def different(some: Any, others: Any) -> list[str]:
    """The places at which two states of one form differ; tensors must be equal to the bit."""
    some, others = flat(some), flat(others)
    assert some.keys() == others.keys()
    return [place for place, value in some.items() if not _same(value, others[place])]


def joined(tensors: Iterable[Tensor]) -> Tensor:
    """All elements in one row."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def relative_error(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖."""
    return float((found - expected).norm() / expected.norm())


def _same(value: Any, other: Any) -> bool:
    return torch.equal(value, other) if torch.is_tensor(value) and torch.is_tensor(other) else value == other
