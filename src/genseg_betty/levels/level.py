"""What every stage needs besides its equation: one Betty `Problem` with the rest in one place.

A subclass writes `training_step`, the loss of its stage. This class adds random numbers that replay, mixed
precision, steps that are made only where they are finite (guard.py), their record for a hypergradient (recorded.py),
and a complete state for checkpoints.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from betty.configs import Config
from betty.problems import ImplicitProblem
from torch import Tensor, nn
from torch.optim import Optimizer

from genseg_betty.data.batches import Batch
from genseg_betty.levels.guard import keep_if, step_if
from genseg_betty.levels.recorded import RecordedStep, Recording, filled
from genseg_betty.levels.substituting import Substituting
from genseg_betty.multilevel.double_backward import WrittenOutDoubleBackward
from genseg_betty.step_inputs import Moment, seed_generators

Doing = Literal["step", "replay"]
"""The step itself; its gradient once more, at other weights."""


@dataclass(frozen=True)
class Conditions:
    """What all levels of a run share."""

    seed: int = 0
    autocast: torch.dtype | None = None  # bfloat16 on devices that have it
    precondition: Literal["step", "identity"] = "step"


def as_laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient with the parameter's strides: torch's fused optimizers read both as if they had the same."""
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)


def written(place: Tensor | None, value: Tensor) -> Tensor:
    """`place` with `value` written into it, which a captured step reads and writes; a copy where there is none yet."""
    if place is None or place.dtype != value.dtype:
        return value.detach().clone()
    return place.copy_(value)


class Level(Substituting, ImplicitProblem):
    """A Betty problem whose step is a pure function of (weights, optimizer state, count, seed).

    Args:
        name: how the other levels address this one (`self.<name>`).
        module: the weights of this level.
        optimizer: kept as it is given (Betty would rebuild it).
        batches: count of the step -> batch; a pure function.
        config: Betty's; `type` names this level's hypergradient.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        optimizer: Optimizer,
        batches: Callable[[int], Batch],
        conditions: Conditions,
        config: Config | None = None,
    ) -> None:
        super().__init__(name, config=config or Config(), module=module, optimizer=optimizer)
        self.batches = batches
        self.conditions = conditions
        self.precondition = conditions.precondition
        self.recording: Recording = "nothing"
        self.record: RecordedStep | None = None
        self.loss: Tensor | None = None
        self.gradient_norm: Tensor | None = None
        self.rested = False  # whether it is known that the last step was not made
        self.held_batch: Batch | None = None  # what a captured step reads in place of the batch of its count
        self._doing: Doing | None = None
        self._begun = False
        self._apart: list[Tensor] = []  # gradient of what `apart` was given in this step
        self._buffers_before: dict[str, Tensor] = {}

    # -- what Betty calls, in the order of a step ------------------------------------------------------------

    def get_batch(self) -> Batch:
        return self.batch_of(self._count) if self.held_batch is None else self.held_batch

    def batch_of(self, count: int) -> Batch:
        """The batch of the step of this number, from 1, on the level's device."""
        return self.batches(count - 1).to(self.device)

    def get_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if not self._begun:
            self.begin()
        self._begun = False
        if self.record and self.recording == "weights":  # to be replayed
            self.record.buffers = {level.name: level.cloned_buffers() for level in self.peers}
            self.record.buffers[self.name] = self._buffers_before
        loss = self._loss_at(self.record.weights if self.record else None, batch, "step")
        self.loss = written(self.loss, loss.detach())
        return loss, {"loss": self.loss}

    def begin(self) -> None:
        """Keep what the coming step may have to restore, and record what it is to record before its first pass."""
        self._begun = True
        self._buffers_before = self.cloned_buffers()
        self.release()
        if self.recording != "nothing":
            self.record = RecordedStep(self.module)

    def training_step_exec(self, batch: Batch) -> Tensor:
        with self.computing(self.moment_of(self._count)):
            return self.training_step(batch)

    @contextmanager
    def computing(self, moment: Moment) -> Iterator[None]:
        """The random numbers and the precision of this level, and what is to be differentiated twice made for that."""
        device, dtype = torch.device(self.device).type, self.conditions.autocast
        enabled = dtype is not None and self.may_round
        twice = WrittenOutDoubleBackward() if self.recording == "graph" else nullcontext()
        with seed_generators(moment), torch.autocast(device, dtype=dtype, enabled=enabled), twice:
            yield

    def backward(self, loss: Tensor, params: list[nn.Parameter], paths: list[Any], **betty: Any) -> None:
        weights = self._weights()
        create_graph = self.recording == "graph"
        gradients = filled(torch.autograd.grad(loss, weights, create_graph=create_graph, allow_unused=True), weights)
        if self._apart:
            gradients = [*torch._foreach_add(gradients, self._apart)]
            self._apart = []
        if self.record and create_graph:
            self.record.graph = gradients
        gradients = [as_laid_out(g.detach(), p) for g, p in zip(gradients, params, strict=True)]
        if self.record:
            self.record.gradients = gradients
        self.set_grads(params, gradients)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the step if the loss and its gradients are finite; otherwise leave everything as it was."""
        sound = self._find_sound()
        self.rested = not step_if(sound, self.optimizer)
        keep_if(sound, [*self.module.buffers()], [*self._buffers_before.values()])
        self._skipped += ~sound
        self._skipped_in_row.add_(1).mul_(~sound)

    def _find_sound(self) -> Tensor:
        """Whether loss and gradients are finite: a bool without dimensions."""
        gradients = [p.grad for p in self.trainable_parameters() if p.grad is not None]
        if not gradients or self.loss is None:
            return torch.zeros((), dtype=torch.bool, device=self.device)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.gradient_norm = written(self.gradient_norm, norm)
        return torch.isfinite(self.gradient_norm + self.loss)

    def apart(self, part: Callable[[], Tensor]) -> Tensor:
        """A part of the loss in which no other level has a part, to be added to the rest of it.

        In a step its gradient is taken at once, and its graph freed: no hypergradient goes through it. A replay, which
        asks for the derivative by another level, leaves it out.
        """
        if self._doing is None:
            return part()
        if self._doing == "replay":
            return torch.zeros((), device=self.device)
        loss, weights = part(), self._weights()
        with torch.autocast(torch.device(self.device).type, enabled=False):
            gradients = filled(torch.autograd.grad(loss, weights, allow_unused=True), weights)
        self._apart = [*torch._foreach_add(self._apart, gradients)] if self._apart else gradients
        return loss.detach()

    def _weights(self) -> list[Tensor]:
        """What the step differentiates its loss by."""
        return self.record.trainable if self.record else [*self.trainable_parameters()]

    def patch_module(self) -> None:
        """Betty's, by which the level's device is known."""
        super().patch_module()
        self._skipped, self._skipped_in_row = torch.zeros(2, dtype=torch.int64, device=self.device).unbind()

    def patch_optimizer(self) -> None:
        """Keep the optimizer as it is, with its groups and options."""

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.module.parameters() if p.requires_grad]

    def log(self, stats: dict[str, Any], global_step: int | None) -> None:
        """Betty's own logger stays silent: the engine's watch reports."""

    # -- what a hypergradient asks for -----------------------------------------------------------------------

    @property
    def may_round(self) -> bool:
        """Whether this step may be computed in bfloat16: none that a hypergradient is taken through.

        Against float64, one through bfloat16 has a cosine of 0.80 at the third joint step, 0.98 at the
        fortieth (32 px, Adam).
        """
        return self.recording == "nothing"

    @property
    def reaches_below(self) -> bool:
        """Whether what is computed now will be differentiated by what the level depends on."""
        return self.recording == "graph" or self._doing == "replay"

    @property
    def sound(self) -> Tensor:
        """Whether the last step was made: a bool without dimensions, on the level's device."""
        return self._skipped_in_row == 0

    @property
    def skipped(self) -> int:
        """Steps that were not made. Waits for the device."""
        return int(self._skipped)

    @property
    def skipped_in_row(self) -> int:
        """Consecutive steps, the last one included, that were not made. Waits for the device."""
        return int(self._skipped_in_row)

    @property
    def step_seed(self) -> int:
        """The seed of the random numbers of the last step."""
        return self.moment_of(self._count).find_seed()

    def moment_of(self, count: int, purpose: str = "") -> Moment:
        """Names the random numbers of the level's step number `count`."""
        return Moment(self.conditions.seed, self.name, count, purpose)

    def recorded(self) -> RecordedStep:
        """The record of the last step."""
        if self.record is None or not self.record.gradients:
            raise RuntimeError(f"level {self.name}: its last step was not recorded")
        return self.record

    def differentiate_gradients(self, direction: Sequence[Tensor]) -> None:
        """Fill the record's `mixed` for every level that a hop leads to from here: they come with the same vector."""
        self.recorded().walk(direction, {level.name: level.trainable_parameters() for level in self._next_in_paths()})

    def seam(self, *made: Tensor) -> tuple[Tensor, ...]:
        """What the levels below made for this step, and all that enters it of them: where its recorded graph is cut."""
        return self.record.cut(made) if self.record and self.recording == "graph" else made

    def _next_in_paths(self) -> list["Level"]:
        """The levels that follow this one on the paths of a hypergradient, each once."""
        steps = [pair for level in self.peers for path in level.paths for pair in pairwise(path[1:])]
        return list(dict.fromkeys(lower for upper, lower in steps if upper is self))

    def replay(self, weights: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
        """∇ of the last step's loss for `parameters`, had its level's weights been `weights`.

        The same batch and random numbers; no buffer of any level keeps a trace.
        """
        record = self.recorded()
        with ExitStack() as stack:
            for level in self.peers:
                stack.enter_context(level.with_copies_of(record.buffers[level.name]))
            there = record.weights | dict(zip(record.names, weights, strict=True))
            loss = self._loss_at(there, self.cur_batch, "replay")
            return filled(torch.autograd.grad(loss, parameters, allow_unused=True), parameters)

    def _loss_at(self, weights: dict[str, Tensor] | None, batch: Batch, doing: Doing) -> Tensor:
        self._doing = doing
        try:
            with self.at(weights):
                return self.training_step_exec(batch)
        finally:
            self._doing = None

    @property
    def peers(self) -> list["Level"]:
        """All levels of the engine, this one included: Betty sets them as attributes under their names."""
        others = [value for value in vars(self).values() if isinstance(value, Level) and value is not self]
        return [self, *others]

    def release(self) -> None:
        """Forget the recorded step and free its graph."""
        self.record = None
        self._apart = []

    # -- what a captured step asks for -----------------------------------------------------------------------

    def advance_count(self) -> None:
        """Count a step that was made without this Python."""
        self._count += 1

    def host_state(self) -> dict[str, Any]:
        """What a step changes in Python alone."""
        return {"_count": self._count, "ready": list(self.ready), "_inner_loop_start": self._inner_loop_start}

    def restore_host_state(self, state: dict[str, Any]) -> None:
        """Go back to such a state, and forget what a broken step left behind."""
        for name, value in state.items():
            setattr(self, name, value)
        for parameter in self.trainable_parameters():
            parameter.grad = None  # Betty would add the next gradient to it
        self.release()
        self._begun = False

    # -- checkpoints -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Betty's state and what it leaves out: the count, from which batches and random numbers follow, and what is
        reported of the last step, which may be asked for before the next one."""
        counts = {"count": self._count, "skipped": self.skipped, "skipped_in_row": self.skipped_in_row}
        reported = {"loss": self.loss, "gradient_norm": self.gradient_norm}
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), **counts, **reported}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.module.load_state_dict(state_dict["module"])
        self.optimizer.load_state_dict(state_dict["optimizer"])
        # What was saved on another device may be laid out otherwise.
        states: dict[nn.Parameter, dict[str, Any]] = dict(self.optimizer.state)
        for parameter, state in states.items():
            moments = {name: value for name, value in state.items() if torch.is_tensor(value) and value.ndim}
            state.update({name: as_laid_out(value, parameter) for name, value in moments.items()})
        self._count = state_dict["count"]
        self._skipped.fill_(state_dict["skipped"])
        self._skipped_in_row.fill_(state_dict["skipped_in_row"])
        reported = [state_dict.get(name) for name in ("loss", "gradient_norm")]  # not in older Runs
        copies = [None if value is None else value.detach().to(self.device, copy=True) for value in reported]
        self.loss, self.gradient_norm = copies
