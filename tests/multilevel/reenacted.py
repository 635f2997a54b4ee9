"""CUDA graphs re-enacted on a CPU: operators are recorded with their tensors, and run again without the step's Python.

What is captured must keep to the rules of a CUDA graph: no input comes from the host in between, no generator is
seeded, no value is read back.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from genseg_betty import randomness

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")
FROM_THE_HOST = ("lift_fresh", "lift", "_pin_memory")


def alias(tensor: Tensor) -> Tensor:
    """Another tensor of the same memory."""
    return tensor.detach()


def name_of(operator: Any) -> str:
    return operator._schema.name.removeprefix("aten::")


class Waits(TorchDispatchMode):
    """Collects the operators that a GPU would have to be waited for."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Integers are seeds, which are drawn on the host.
        of_host = name_of(operator) == "_local_scalar_dense" and args[0].dtype == torch.int64
        if name_of(operator) in WAITS and not of_host:
            self.found.append(name_of(operator))
        return operator(*args, **(kwargs or {}))


class Recording(TorchDispatchMode):
    """Records operators with their operands, their results, and the generator that they draw from."""

    def __init__(self, backend: "ReenactedBackend") -> None:
        super().__init__()
        self.backend = backend
        self.calls: list[tuple[Any, Any, Any, Any, torch.Generator | None]] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(operator) in WAITS + FROM_THE_HOST:
            raise RuntimeError(f"{name_of(operator)} within a capture")
        aliases = tree_map_only(Tensor, alias, (args, kwargs or {}))  # whose form nothing changes afterwards
        result = operator(*args, **(kwargs or {}))
        if not operator.is_view and torch.Tag.inplace_view not in operator.tags:
            self.calls.append((operator, *aliases, tree_map_only(Tensor, alias, result), self.backend.generator))
        return result


class ReenactedGraph:
    def __init__(self, backend: "ReenactedBackend") -> None:
        self.backend = backend
        self.recording = Recording(backend)

    def capture(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        self.backend.generators = list(generators)
        before = [(tensor, tensor.detach().clone()) for tensor in self.backend.persistent()]
        try:
            with pytest.MonkeyPatch.context() as patch, self.recording:
                patch.setattr(torch, "manual_seed", _refuse_seed)
                patch.setattr(randomness, "seed_torch", _refuse_seed)
                step()
        finally:
            with torch.no_grad():  # in a capture no operator runs
                for tensor, value in before:
                    tensor.data.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        for operator, args, kwargs, result, generator in self.recording.calls:
            with nullcontext() if generator is None else self.backend.draw_from(generator):
                again = operator(*args, **kwargs)
            for place, value in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(place, Tensor) and not place._is_zerotensor():
                    place.copy_(value)


def _refuse_seed(seed: int) -> None:
    raise RuntimeError("manual_seed within a capture")


class ReenactedBackend:
    """Args: persistent: lists the tensors that are there before and after a step."""

    def __init__(self, persistent: Callable[[], list[Tensor]]) -> None:
        self.persistent = persistent
        self.generator: torch.Generator | None = None
        self.generators: list[torch.Generator] = []

    def make_graph(self) -> ReenactedGraph:
        return ReenactedGraph(self)

    def make_generator(self) -> torch.Generator:
        return torch.Generator()

    @contextmanager
    def draw_from(self, generator: torch.Generator) -> Iterator[None]:
        before, outer = torch.get_rng_state(), self.generator
        torch.set_rng_state(generator.get_state())
        self.generator = generator
        yield
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
        self.generator = outer

    @contextmanager
    def on_own_stream(self) -> Iterator[None]:
        yield

    @contextmanager
    def find_waits(self) -> Iterator[list[str]]:
        found: list[str] = []
        with Waits(found):
            yield found
