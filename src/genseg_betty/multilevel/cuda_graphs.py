"""CUDA graphs: sequences of kernels that are recorded once and launched by one call of the host.

`captured_step.py` sees them through the two protocols here; tests re-enact them on a CPU.
"""

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch


class Graph(Protocol):
    """A recorded sequence of kernels."""

    def capture(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        """Record the kernels of `step`, whose random numbers come from `generators`. None of them runs."""

    def replay(self) -> None:
        """Run the kernels."""


class Backend(Protocol):
    """What captures graphs; `CudaBackend`, and in tests one that re-enacts it on a CPU."""

    def make_graph(self) -> Graph:
        """A graph that is still to be captured."""

    def make_generator(self) -> torch.Generator:
        """A generator of the device, for one stretch of random numbers."""

    def draw_from(self, generator: torch.Generator) -> AbstractContextManager[None]:
        """Let the operators of a block draw their random numbers from `generator`."""

    def on_own_stream(self) -> AbstractContextManager[None]:
        """Run a block where graphs are captured, in order with what comes before and after."""

    def find_waits(self) -> AbstractContextManager[list[str]]:
        """Collect the places of a block that wait for the device."""


class CudaBackend:
    """CUDA graphs on one stream of their own, with one pool of memory for all of them."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.pool = torch.cuda.graph_pool_handle()

    def make_graph(self) -> Graph:
        return CudaGraph(self.stream, self.pool)

    def make_generator(self) -> torch.Generator:
        return torch.Generator(device="cuda")

    @contextmanager
    def draw_from(self, generator: torch.Generator) -> Iterator[None]:
        default = torch.cuda.default_generators[torch.cuda.current_device()]
        before = default.graphsafe_get_state()
        default.graphsafe_set_state(generator.graphsafe_get_state())
        try:
            yield
        finally:
            default.graphsafe_set_state(before)

    @contextmanager
    def on_own_stream(self) -> Iterator[None]:
        outside = torch.cuda.current_stream()
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):
            yield
        outside.wait_stream(self.stream)

    @contextmanager
    def find_waits(self) -> Iterator[list[str]]:
        before = torch.cuda.get_sync_debug_mode()
        found: list[str] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield found
            finally:
                torch.cuda.set_sync_debug_mode(before)
        for warning in caught:
            if "synchronizing CUDA operation" in str(warning.message):
                found.append(f"{warning.filename}, line {warning.lineno}")
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


class CudaGraph:
    """One captured sequence of kernels.

    Graphs of one pool write over each other's temporary memory. So nothing that a step makes may be read after it,
    except from tensors that were there before its capture.
    """

    def __init__(self, stream: torch.cuda.Stream, pool: Any) -> None:
        self.stream = stream
        self.pool = pool
        self.graph = torch.cuda.CUDAGraph()

    def capture(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        for generator in generators:
            self.graph.register_generator_state(generator)
        gc.collect()  # what is freed during a capture may be an object that CUDA refuses to free then
        default = torch.cuda.default_generators[torch.cuda.current_device()]
        spare = default.clone_state()
        try:
            with torch.cuda.graph(self.graph, self.pool, self.stream, capture_error_mode="thread_local"):
                step()
        except Exception:
            default.graphsafe_set_state(spare.graphsafe_get_state())  # its own is stuck in the broken capture
            raise

    def replay(self) -> None:
        self.graph.replay()
