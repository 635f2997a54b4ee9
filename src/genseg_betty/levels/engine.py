"""The dependency graph of the method, and the order in which its levels step.

GenSeg's Eq. 4 as a Betty graph: architecture A -> generation G'(A) -> segmentation S'(G') -> architecture.
One joint step is one update of each: H, G, S, A (Eq. 5-8); A rests in the first one, see `hop_configs`.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.hypergradient import jvp_fn_mapping

from genseg_betty.errors import UserError
from genseg_betty.levels import guard
from genseg_betty.levels.hypergradient import HYPERGRADIENTS
from genseg_betty.levels.level import Level, Recording
from genseg_betty.levels.updates import check_optimizer
from genseg_betty.multilevel.captured_step import StepGraphs
from genseg_betty.multilevel.cuda_graphs import Backend, CudaBackend

WARMUP = "warmup"
"""The phase of stage I alone."""
ASK_EVERY = 10
"""Steps after which a GPU is asked for the steps that were not made; it is waited for then."""
RECORDING: dict[str, Recording] = {
    "exact": "graph",
    "exact_full": "graph",
    "finite_difference": "weights",
    "none": "nothing",
}
"""What the steps of stage I and II must leave behind for each hypergradient."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training: `steps` engine steps in which the named leaves of the graph step."""

    name: str
    steps: int
    leaves: tuple[str, ...]


@dataclass
class Plan:
    """What a method trains: its levels in the order of their steps, their edges, its phases."""

    levels: list[Level]
    phases: list[Phase]
    upper_to_lower: dict[Level, list[Level]] = field(default_factory=dict)
    lower_to_upper: dict[Level, list[Level]] = field(default_factory=dict)
    hypergradient: str = "none"
    arch_every: int = 1


def hop_configs(hypergradient: str, warmup_steps: int, arch_every: int) -> dict[str, Config]:
    """Betty's settings of the two levels that a hypergradient goes through: how it does, and when they step.

    `exact_full` adds two terms, so the generator's hop keeps its learning rate there (see hypergradient.py).

    The architecture rests in the first joint step. The moments of the segmenter's Adam are zero before it, and without
    a warm-up the generator's: u = g / (|g| + ε), and du/dg is 0 but for the rounding of g. Two computations of one
    hypergradient then differ by 9 % (20 warm-up steps) to 3000 % (none), and from the second step on by 1e-6.
    """
    hop = "finite_difference" if hypergradient == "finite_difference" else "exact"
    return {
        "generation": Config(
            type="exact_with_rate" if hypergradient == "exact_full" else hop, warmup_steps=warmup_steps
        ),
        "segmentation": Config(type=hop, unroll_steps=arch_every, warmup_steps=1),
    }


def joint_plan(
    gan: Sequence[Level], segmentation: Level, architecture: Level | None,
    phases: list[Phase], hypergradient: str, arch_every: int,
) -> Plan:  # fmt: skip
    """GenSeg's graph (Eq. 4); `gan` ends with the generation, its opponent before it where there is one.

    With `none` the generator still trains beside the segmenter and A rests.
    """
    generation = gan[-1]
    if hypergradient == "none" or architecture is None:
        return Plan([*gan, segmentation], phases, {}, {generation: [segmentation]})
    levels = [*gan, segmentation, architecture]  # order of the steps
    upper_to_lower = {architecture: [generation]}  # A shapes G
    if hypergradient == "exact_full":
        upper_to_lower = {architecture: [generation, segmentation]}  # and Î itself
    lower_to_upper = {generation: [segmentation], segmentation: [architecture]}  # G′ → S′ → L_val
    return Plan(levels, phases, upper_to_lower, lower_to_upper, hypergradient, arch_every)


class Diverged(UserError):
    """Too many steps in a row with a loss or gradient that is not finite."""


class GenSegEngine(Engine):
    """Betty's engine over phases, with a state from which training goes on to the bit.

    Args:
        plan: levels, edges and phases.
        device: "cpu" or "cuda".
        max_nonfinite: this many unsound steps of one level in a row end the training.
        backend: captures whole steps as graphs; None: each operator is launched by itself.

    Attributes:
        tell: is told why steps are not captured although there is a backend.
    """

    def __init__(
        self, plan: Plan, device: str = "cpu", max_nonfinite: int = 20, backend: Backend | None = None
    ) -> None:
        logging.getLogger("betty").disabled = True  # Betty prints its graph; the watch reports instead
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
        self.record_where_due(phase)
        if self.graphs is None:
            self.train_step(phase)
        else:
            self.graphs.run(self._find_kind(phase), lambda: self.train_step(phase))
        self._require_sound_steps()
        self.done[phase.name] += 1
        return phase

    def train_step(self, phase: Phase) -> None:
        """One update of each level whose turn it is; what they recorded is forgotten."""
        for leaf in self.leaves:
            if leaf.name in phase.leaves:
                leaf.step(global_step=self.global_step)
        for level in self.levels:
            level.release()

    def _find_kind(self, phase: Phase) -> Hashable:
        """What decides which operators the coming step of `phase` is made of; a captured step holds learning rates."""
        rates = tuple(group["lr"] for level in self.levels for group in level.optimizer.param_groups)
        return phase.name, self.steps_jointly(phase), self._architecture_is_due(phase), rates

    def record_where_due(self, phase: Phase) -> None:
        """Stage I and II leave a record where stage III steps in this very step, the last of `arch_every`."""
        if self.plan.hypergradient == "none":
            return
        recording: Recording = RECORDING[self.plan.hypergradient] if self._architecture_is_due(phase) else "nothing"
        self.generation.recording = recording
        self.segmentation.recording = recording

    def _architecture_is_due(self, phase: Phase) -> bool:
        """Whether stage III steps in the coming step: the last of `arch_every`, and not the first joint one."""
        if self.plan.hypergradient == "none" or not self.steps_jointly(phase):
            return False
        coming = self.segmentation.count + 1
        return coming % self.plan.arch_every == 0 and coming > self.segmentation.warmup_steps

    def steps_jointly(self, phase: Phase) -> bool:
        """Betty holds the upper levels back until the generator's warm-up is over."""
        generation = getattr(self, "generation", None)
        return generation is None or ("generation" in phase.leaves and generation.count >= generation.warmup_steps)

    def _require_sound_steps(self) -> None:
        if not guard.answers_at_once(self.device) and self.global_step % ASK_EVERY:
            return
        for level in self.levels:
            if level.skipped_in_row >= self.max_nonfinite:
                raise Diverged(self._divergence(level))

    def _divergence(self, level: Level) -> str:
        return (
            f"the loss or gradient of level '{level.name}' was not finite in {level.skipped_in_row} steps in a row "
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
    """What captures the steps of an engine on `device`, if `graphs` (auto | never) lets it."""
    return CudaBackend() if graphs == "auto" and device.type == "cuda" else None
