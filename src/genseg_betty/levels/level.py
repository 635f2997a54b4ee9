"""What every stage needs besides its equation: one Betty `Problem` with the rest in one place.

A subclass writes `training_step`, the loss of its stage. This class adds random numbers that replay, mixed
precision, guards against non-finite steps, the record of a step that a hypergradient differentiates
(weights before it, and the gradient with its graph), and a complete state for checkpoints.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from betty.configs import Config
from betty.problems import ImplicitProblem
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from genseg_betty.data.batches import Batch
from genseg_betty.memory import return_freed
from genseg_betty.randomness import derived_seed, seeded

Recording = Literal["nothing", "weights", "graph"]


@dataclass(frozen=True)
class Conditions:
    """What all levels of a run share."""

    seed: int = 0
    autocast: torch.dtype | None = None  # bfloat16 on devices that have it
    precondition: Literal["step", "identity"] = "step"


@contextmanager
def buffers_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Leave every buffer (BatchNorm statistics) of `modules` as it was, whatever the block does."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, kept, strict=True):
            buffer.copy_(value)


def filled(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Zeros in place of the gradients that autograd leaves out."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]


def as_laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient with the parameter's strides: torch's fused optimizers read both as if they had the same."""
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)


class Level(ImplicitProblem):
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
        self.skipped = 0
        self.skipped_in_row = 0
        self.loss: Tensor | None = None
        self.gradient_norm: Tensor | None = None
        self._active: dict[str, Tensor] | None = None  # what `forward` uses instead of the module's weights
        self._aside: dict[str, Tensor] = {}  # and instead of its buffers
        self._before: dict[str, Tensor] | None = None  # the weights before the recorded step
        self._gradients: tuple[Tensor, ...] | None = None
        self._doing: Literal["step", "replay"] | None = None
        self._begun = False
        self._seam: list[tuple[Tensor, Tensor]] = []  # what other levels made for it, and the leaves in its place
        self._apart: list[Tensor] = []  # gradient of what `apart` was given in this step
        self._buffers_before: list[Tensor] = []
        self.mixed: dict[str, list[Tensor]] = {}

    # -- what Betty calls, in the order of a step ------------------------------------------------------------

    def get_batch(self) -> Batch:
        return self.batches(self._count - 1).to(self.device)

    def get_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if not self._begun:
            self.begin()
        self._begun = False
        loss = self._loss_at(self._before, batch, "step")
        self.loss = loss.detach()
        return loss, {"loss": self.loss}

    def begin(self) -> None:
        """Keep what the coming step may have to restore, and record what it is to record before its first pass."""
        self._begun = True
        self._buffers_before = [buffer.clone() for buffer in self.module.buffers()]
        self.release()
        if self.recording != "nothing":
            self._before = {
                name: parameter.detach().clone().requires_grad_(parameter.requires_grad)
                for name, parameter in self.module.named_parameters()
            }

    def training_step_exec(self, batch: Batch) -> Tensor:
        with self.computing(self.step_seed):
            return self.training_step(batch)

    @contextmanager
    def computing(self, seed: int) -> Iterator[None]:
        """The random numbers and the precision of this level."""
        device, dtype = torch.device(self.device).type, self.conditions.autocast
        enabled = dtype is not None and self.may_round
        with seeded(seed), torch.autocast(device, dtype=dtype, enabled=enabled):
            yield

    def backward(self, loss: Tensor, params: list[nn.Parameter], paths: list[Any], **betty: Any) -> None:
        weights = self._weights()
        graph = self.recording == "graph"
        gradients = filled(torch.autograd.grad(loss, weights, create_graph=graph, allow_unused=True), weights)
        if self._apart:
            gradients = [*torch._foreach_add(gradients, self._apart)]
            self._apart = []
        self._gradients = tuple(gradients)
        self.set_grads(params, [as_laid_out(g.detach(), p) for g, p in zip(self._gradients, params, strict=True)])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the step if the loss and its gradients are finite; otherwise leave everything as it was."""
        gradients = [p.grad for p in self.trainable_parameters() if p.grad is not None]
        sound = False
        if gradients and self.loss is not None:
            self.gradient_norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            sound = bool(torch.isfinite(self.gradient_norm + self.loss))
        if sound:
            self.optimizer.step()
            self.skipped_in_row = 0
            return
        for buffer, value in zip(self.module.buffers(), self._buffers_before, strict=True):
            buffer.copy_(value)
        self._gradients = None
        self.skipped += 1
        self.skipped_in_row += 1

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
        return [*self.trainable_parameters()] if self._before is None else self._trainable(self._before)

    def forward(self, *args: Any) -> Any:
        """The module; within a recorded step of its own, at a copy of the weights that the step will not touch."""
        replaced = {**(self._active or {}), **self._aside}
        return functional_call(self.module, replaced, args) if replaced else self.module(*args)

    @contextmanager
    def statistics_aside(self) -> Iterator[None]:
        """Let the module's buffers (BatchNorm's running statistics) learn nothing from what the block shows it."""
        self._aside = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        try:
            yield
        finally:
            self._aside = {}

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

        Against float64, one through bfloat16 has a cosine of 0.16 at the first joint step, 0.80 at the third, 0.98
        at the fortieth (32 px, Adam).
        """
        return self.recording == "nothing"

    @property
    def sound(self) -> bool:
        """Whether the last step was made."""
        return self.skipped_in_row == 0

    @property
    def step_seed(self) -> int:
        return self.seed_of(self._count)

    def seed_of(self, count: int) -> int:
        """The seed of the random numbers of the level's step number `count`."""
        return derived_seed(self.conditions.seed, self.name, count)

    def recorded(self) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """The trainable weights before the last step, and its gradients (with their graph if recorded so)."""
        if self._before is None or self._gradients is None:
            raise RuntimeError(f"level {self.name}: its last step was not recorded")
        return self._trainable(self._before), self._gradients

    def differentiate_gradients(self, direction: list[Tensor]) -> None:
        """Fill `mixed`: by the name of each level that a hop leads to from here, the derivative by that level's weights
        of ⟨gradients of the recorded step, direction⟩.

        One walk through the recorded graph serves all hops, which come here with the same vector, and frees it.
        """
        _, gradients = self.recorded()
        parameters = {level.name: level.trainable_parameters() for level in self._next_in_paths()}
        every = [parameter for group in parameters.values() for parameter in group]
        ends = [leaf for _, leaf in self._seam] or every
        outputs, vectors = zip(
            *[(g, d) for g, d in zip(gradients, direction, strict=True) if g.requires_grad], strict=True
        )
        found = filled(torch.autograd.grad(outputs, ends, vectors, allow_unused=True), ends)
        self._gradients = tuple(g.detach() for g in gradients)
        if self._seam:
            return_freed()  # what this half held, for the weights of the next
            origins, self._seam = [origin for origin, _ in self._seam], []
            found = filled(torch.autograd.grad(origins, every, found, allow_unused=True), every)
        remaining = iter(found)
        self.mixed = {name: [next(remaining) for _ in group] for name, group in parameters.items()}

    def seam(self, *made: Tensor) -> tuple[Tensor, ...]:
        """What the levels below made for this step, and all that enters it of them.

        The recorded graph is cut there: a hypergradient goes through this level's half, which is then freed, and with
        what comes out of it through theirs.
        """
        if self.recording != "graph":
            return made
        cut = [tensor.detach().requires_grad_() if tensor.requires_grad else tensor for tensor in made]
        self._seam = [(origin, leaf) for origin, leaf in zip(made, cut, strict=True) if leaf.requires_grad]
        return tuple(cut)

    def _next_in_paths(self) -> list["Level"]:
        """The levels that follow this one on the paths of a hypergradient, each once."""
        steps = [pair for level in self.peers for path in level.paths for pair in pairwise(path[1:])]
        return list(dict.fromkeys(lower for upper, lower in steps if upper is self))

    def replay(self, weights: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
        """∇ of the last step's loss for `parameters`, had its level's weights been `weights`.

        The same batch and random numbers; no buffer of any level keeps a trace.
        """
        if self._before is None:
            raise RuntimeError(f"level {self.name}: its last step was not recorded")
        names = [name for name, weight in self._before.items() if weight.requires_grad]
        with buffers_kept([level.module for level in self.peers]):
            loss = self._loss_at(self._before | dict(zip(names, weights, strict=True)), self.cur_batch, "replay")
            return filled(torch.autograd.grad(loss, parameters, allow_unused=True), parameters)

    def _loss_at(self, weights: dict[str, Tensor] | None, batch: Batch, doing: Literal["step", "replay"]) -> Tensor:
        self._doing = doing
        try:
            with self.at(weights):
                return self.training_step_exec(batch)
        finally:
            self._doing = None

    @contextmanager
    def at(self, weights: dict[str, Tensor] | None) -> Iterator[None]:
        """Let `forward` use these weights in place of the module's."""
        self._active = weights
        try:
            yield
        finally:
            self._active = None

    @property
    def peers(self) -> list["Level"]:
        """All levels of the engine, this one included: Betty sets them as attributes under their names."""
        others = [value for value in vars(self).values() if isinstance(value, Level) and value is not self]
        return [self, *others]

    def release(self) -> None:
        """Forget the recorded step and free its graph."""
        self._before = None
        self._gradients = None
        self._apart = []
        self._seam = []
        self.mixed = {}

    @staticmethod
    def _trainable(weights: dict[str, Tensor]) -> list[Tensor]:
        return [weight for weight in weights.values() if weight.requires_grad]

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
        self._count = state_dict["count"]
        self.skipped = state_dict["skipped"]
        self.skipped_in_row = state_dict["skipped_in_row"]
        self.loss, self.gradient_norm = state_dict.get("loss"), state_dict.get("gradient_norm")  # not in older Runs
