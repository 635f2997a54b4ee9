"""A whole step of the engine as one CUDA graph.

A joint step of small networks is some thousand kernels of a few microseconds each. The host needs longer to launch them
than the GPU to run them: at 64 pixels 244 ms a step against 20 ms. A CUDA graph launches them all with one call.

The host's part of a step stays outside of the graph (see `step_inputs.py`). Before a replay, batches and the tensors
that augmentation draws on the host are written into places that the graph reads from, and the generator of each
stretch of random numbers is seeded as the plain step would seed it. A replay therefore draws the same numbers as the
plain step, and a resumed run equals one that was never stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from genseg_betty.device import send_to_device
from genseg_betty.multilevel.cuda_graphs import Backend, Graph
from genseg_betty.multilevel.step_inputs import Moment, listen
from genseg_betty.randomness import seeded


class CapturableBatch(Protocol):
    """What a level learns from in one step."""

    def overwrite(self, other: Any) -> None:
        """Write the tensors of another batch over those of this one."""

    def clone(self) -> Any:
        """A copy with tensors of its own."""


class CapturableLevel(Protocol):
    """What a captured step asks of the levels that it is made of."""

    name: str
    optimizer: Optimizer
    held_batch: Any  # what `get_batch` answers while it is not None

    @property
    def count(self) -> int:
        """Steps so far."""

    def batch_of(self, count: int) -> Any:
        """The batch of the step of this number, from 1, on the device."""

    def advance_count(self) -> None:
        """Count a step that was made without the level's Python."""

    def host_state(self) -> dict[str, Any]:
        """What a step changes in Python alone, such as the count."""

    def restore_host_state(self, state: dict[str, Any]) -> None:
        """Go back to such a state."""

    def end_step(self) -> None:
        """Forget what a step left behind, also one that broke off."""


@dataclass
class Stretch:
    """A stretch of a step whose random numbers have one seed, and what is made on the host within it.

    Attributes:
        moment: its random numbers in the step that was listened to.
        generator: the device's generator for it.
        makers: what makes each tensor on the host, in the order of the step.
        places: where the captured step reads these tensors, on the device.
    """

    moment: Moment
    generator: torch.Generator
    makers: list[Callable[[], Tensor]] = field(default_factory=list)
    places: list[Tensor] = field(default_factory=list)

    def refill(self, steps: int) -> None:
        """Seed the generator and make the tensors anew, for the step `steps` steps after the one listened to."""
        seed = self.moment.shift(steps).find_seed()
        self.generator.manual_seed(seed)
        with seeded(seed) if self.makers else nullcontext():
            for make, place in zip(self.makers, self.places, strict=True):
                place.copy_(send_to_device(make(), place.device))


class InputListener:
    """Listens to a plain step and learns which inputs it takes from the host."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.stretches: list[Stretch] = []
        self._open: list[Stretch] = []

    @contextmanager
    def seed_generators(self, moment: Moment) -> Iterator[None]:
        stretch = Stretch(moment, self.backend.make_generator())
        self.stretches.append(stretch)
        self._open.append(stretch)
        with seeded(moment.find_seed()):
            yield
        self._open.pop()

    def send_from_host(self, make: Callable[[], Tensor], device: torch.device) -> Tensor:
        place = send_to_device(make(), device)
        stretch = self._open[-1]
        stretch.makers.append(make)
        stretch.places.append(place)
        return place


class InputReader:
    """Answers a step that is being captured with the places and generators that were learned."""

    def __init__(self, backend: Backend, stretches: Sequence[Stretch]) -> None:
        self.backend = backend
        self._stretches = iter(stretches)
        self._open: list[Iterator[Tensor]] = []

    @contextmanager
    def seed_generators(self, moment: Moment) -> Iterator[None]:
        stretch = next(self._stretches)
        self._open.append(iter(stretch.places))
        with self.backend.draw_from(stretch.generator):
            yield
        self._open.pop()

    def send_from_host(self, make: Callable[[], Tensor], device: torch.device) -> Tensor:
        return next(self._open[-1])


class CapturedStep:
    """One kind of step: its graph, and the inputs that are written before each replay.

    Args:
        levels: those that step in it.
        counts: how many steps each had made before the step that was listened to, by name.
    """

    def __init__(self, levels: Sequence[CapturableLevel], counts: dict[str, int], stretches: Sequence[Stretch]) -> None:
        self.levels = levels
        self.counts = counts
        self.stretches = stretches
        self.batches: dict[str, CapturableBatch] = {}
        self.graph: Graph | None = None

    def capture(self, step: Callable[[], None], backend: Backend) -> None:
        """Record `step`. The Python of it runs, its kernels do not."""
        self.batches = {level.name: level.batch_of(level.count + 1).clone() for level in self.levels}
        graph = backend.make_graph()
        with ExitStack() as stack:
            stack.enter_context(listen(InputReader(backend, self.stretches)))
            for level in self.levels:
                stack.enter_context(_holding(level, self.batches[level.name]))
                stack.enter_context(_capturable(level.optimizer))
            graph.capture(step, [stretch.generator for stretch in self.stretches])
        self.graph = graph

    def fill_inputs(self) -> None:
        """Write the inputs of the coming step."""
        for level in self.levels:
            self.batches[level.name].overwrite(level.batch_of(level.count + 1))
        steps = {level.name: level.count - self.counts[level.name] for level in self.levels}
        for stretch in self.stretches:
            stretch.refill(steps[stretch.moment.level])


@contextmanager
def _holding(level: CapturableLevel, batch: CapturableBatch) -> Iterator[None]:
    """Let the level take `batch` for its step."""
    level.held_batch = batch
    try:
        yield
    finally:
        level.held_batch = None


@contextmanager
def _capturable(optimizer: Optimizer) -> Iterator[None]:
    """Let the optimizer step within a capture; torch asks for a promise that nothing of its state is on the host."""
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = state["step"].to(optimizer.param_groups[0]["params"][0].device)
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group["capturable"] = value
