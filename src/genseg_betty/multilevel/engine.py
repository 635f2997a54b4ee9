"""Betty's engine over phases: which levels step when, what they record, and a state to resume from to the bit."""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from betty.configs import EngineConfig
from betty.engine import Engine
from betty.hypergradient import jvp_fn_mapping

from genseg_betty.errors import UserError
from genseg_betty.multilevel import finite_steps
from genseg_betty.multilevel.cuda_graphs import Backend, CudaBackend
from genseg_betty.multilevel.hypergradient import HYPERGRADIENTS
from genseg_betty.multilevel.level import Level
from genseg_betty.multilevel.optimizer_derivatives import check_optimizer
from genseg_betty.multilevel.recorded_step import Recording
from genseg_betty.multilevel.step_graphs import StepGraphs
from genseg_betty.ranks import count_processes

ASK_EVERY = 10
"""Steps after which a GPU is asked for the steps that were not made; it is waited for then."""
RECORDING: dict[str, Recording] = {
    "exact": "graph",
    "exact_full": "graph",
    "finite_difference": "weights",
    "none": "nothing",
}
"""What the steps that a hypergradient goes through must leave behind."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training: `steps` engine steps in which the named leaves of the graph step."""

    name: str
    steps: int
    leaves: tuple[str, ...]


@dataclass
class Plan:
    """What a method trains.

    Attributes:
        levels: in the order of their steps, so that every level comes after those below it.
        phases: in their order.
        upper_to_lower: a level -> the lower levels that depend on it.
        lower_to_upper: a level -> the upper levels that step after it and depend on it.
        hypergradient: how it is taken, a key of `RECORDING`.
    """

    levels: list[Level]
    phases: list[Phase]
    upper_to_lower: dict[Level, list[Level]] = field(default_factory=dict)
    lower_to_upper: dict[Level, list[Level]] = field(default_factory=dict)
    hypergradient: str = "none"


class Diverged(UserError):
    """Too many steps in a row with a loss or gradient that is not finite."""


class PhasedEngine(Engine):
    """Makes the steps of a plan, phase by phase.

    Args:
        plan: levels, edges and phases.
        device: "cpu" or "cuda".
        max_nonfinite: this many steps of one level in a row that were not finite end the training.
        backend: captures whole steps as graphs; None: each operator is launched by itself.

    Attributes:
        tell: is told why steps are not captured although there is a backend.
    """

    def __init__(
        self, plan: Plan, device: str = "cpu", max_nonfinite: int = 20, backend: Backend | None = None
    ) -> None:
        logging.getLogger("betty").disabled = True  # Betty prints its graph; the training loop reports instead
        jvp_fn_mapping.update(HYPERGRADIENTS)
        self.plan = plan
        self.max_nonfinite = max_nonfinite
        self.done = {phase.name: 0 for phase in plan.phases}
        strategy = "gpu" if device == "cuda" else "cpu"
        dependencies = {"u2l": plan.upper_to_lower, "l2u": plan.lower_to_upper}
        if plan.hypergradient != "none":
            for level in plan.lower_to_upper:  # those whose step a hop goes through
                check_optimizer(level.optimizer)
        super().__init__(plan.levels, EngineConfig(strategy=strategy), dependencies)
        self.train()
        self.tell: Callable[[str], None] = logging.getLogger(__name__).warning
        self.backend = backend
        self.graphs = None if backend is None else StepGraphs(plan.levels, backend, lambda text: self.tell(text))

    @property
    def levels(self) -> Sequence[Level]:
        return self.plan.levels

    def phase(self) -> Phase | None:
        """The phase that the next step belongs to; None when all are done.

        A phase that another has followed is over: a prolonged Separate trains its segmenter on, its generator not.
        """
        begun = [index for index, phase in enumerate(self.plan.phases) if self.done[phase.name]]
        current = self.plan.phases[begun[-1] if begun else 0 :]
        return next((phase for phase in current if self.done[phase.name] < phase.steps), None)

    def advance(self) -> Phase | None:
        """Make one step. Returns its phase, or None if there was none left.

        Raises:
            Diverged: a level's last `max_nonfinite` steps all had a loss or gradient that was not finite.
        """
        phase = self.phase()
        if phase is None:
            return None
        self.global_step += 1
        stepping = self.find_stepping(phase)
        self.record_for(stepping)
        if self.graphs is None:
            self.train_step(stepping)
        else:
            self.graphs.run(self._find_kind(phase, stepping), lambda: self.train_step(stepping))
        self._require_finite_steps()
        self.done[phase.name] += 1
        return phase

    def find_stepping(self, phase: Phase) -> list[Level]:
        """The levels that take part in the coming step of `phase`, in their order.

        Betty steps the leaves, and an upper level after all levels below it; a level holds the upper ones back until
        its warm-up is over, and between the last of its `unroll_steps`.
        """
        stepping: list[Level] = []
        for level in self.levels:
            lower_levels = level.children
            is_asked = all(lower in stepping and self._calls_upper_levels(lower) for lower in lower_levels)
            if is_asked if lower_levels else level.name in phase.leaves:
                stepping.append(level)
        return stepping

    def _calls_upper_levels(self, level: Level) -> bool:
        """Whether the level's coming step is one after which the levels above it step."""
        coming = level.count + 1
        return bool(coming % level.config.unroll_steps == 0 and coming > level.warmup_steps)

    def record_for(self, stepping: Sequence[Level]) -> None:
        """Let the levels that a hypergradient goes through leave a record, where a level steps that asks for it."""
        asked = any(level in stepping for level in self.plan.upper_to_lower)
        for level in self.plan.lower_to_upper:
            level.recording = RECORDING[self.plan.hypergradient] if asked else "nothing"

    def train_step(self, stepping: Sequence[Level]) -> None:
        """One update of each of these levels; what they recorded is forgotten."""
        for level in stepping:
            level.begin_step()
        for leaf in self.leaves:
            if leaf in stepping:
                leaf.step(global_step=self.global_step)
        for level in self.levels:
            level.end_step()

    def _find_kind(self, phase: Phase, stepping: Sequence[Level]) -> Hashable:
        """What decides which operators the coming step is made of; a captured step holds learning rates."""
        names = tuple(level.name for level in stepping)
        rates = tuple(group["lr"] for level in self.levels for group in level.optimizer.param_groups)
        return phase.name, names, rates

    def _require_finite_steps(self) -> None:
        if not finite_steps.answers_at_once(self.device) and self.global_step % ASK_EVERY:
            return
        for level in self.levels:
            if level.guard.skipped_in_row >= self.max_nonfinite:
                raise Diverged(self._divergence(level))

    def _divergence(self, level: Level) -> str:
        skipped = level.guard.skipped_in_row
        return (
            f"the loss or gradient of level '{level.name}' was not finite in {skipped} steps in a row "
            f"(step {self.global_step}). None of these steps was made, and every checkpoint so far is intact. Lower "
            f"trainer.optimizers.*.lr, or look for images with extreme intensities (genseg data check)."
        )

    def state_dict(self) -> dict[str, Any]:
        levels = {level.name: level.state_dict() for level in self.levels}
        return {"global_step": self.global_step, "done": dict(self.done), "levels": levels}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.global_step = state["global_step"]
        self.done.update(state["done"])
        for level in self.levels:
            level.load_state_dict(state["levels"][level.name])
        if self.graphs is not None:
            self.graphs.forget()


def find_backend(graphs: str, device: torch.device) -> Backend | None:
    """What captures the steps of an engine on `device`, if `graphs` (auto | never) lets it and no other process has a
    part in them."""
    is_captured = graphs == "auto" and device.type == "cuda" and count_processes() == 1
    return CudaBackend() if is_captured else None
