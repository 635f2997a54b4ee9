"""One level of a multilevel program: the order of its step, and what its loss may ask for.

A step depends on (weights, optimizer state, count, seed) and on nothing else, so that a resumed training, and a step
that is made again, give the same bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genseg_betty.joint_batch import average_processes
from genseg_betty.multilevel.divided_step import divide_step
from genseg_betty.multilevel.double_backward import WrittenOutDoubleBackward
from genseg_betty.multilevel.finite_steps import write_into
from genseg_betty.multilevel.joint_gradients import average_gradients
from genseg_betty.multilevel.recorded_step import RecordedStep, Recording, fill_missing
from genseg_betty.multilevel.stateful_problem import StatefulProblem, match_strides
from genseg_betty.multilevel.step_inputs import Moment, seed_generators

Pass = Literal["free", "step", "replay"]
"""Why a loss is computed: by itself; for the level's step; for a second gradient of that step at other weights."""


class Level(StatefulProblem):
    """A problem whose step is recorded where a hypergradient will go through it, and made where it is finite.

    A subclass writes `training_step`, the loss of its stage. In the order of a step, the methods are called as they
    stand here: `begin_step` and `end_step` by the engine, the others by Betty.

    Attributes:
        recording: what the coming steps leave behind; the engine sets it.
        record: of the step that is being made; None where nothing is recorded.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recording: Recording = "nothing"
        self.record: RecordedStep | None = None
        self._pass: Pass = "free"
        self._buffers_before: dict[str, Tensor] = {}
        self._own_gradients: list[Tensor] = []

    # -- a step ----------------------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Take the batch of the coming step, and keep what that step may have to restore or to record."""
        self.end_step()
        self.cur_batch = self.batch_of(self._count + 1) if self.held_batch is None else self.held_batch
        self._buffers_before = self.network.clone_buffers()
        if self.recording != "nothing":
            self.record = RecordedStep(self.module)

    def get_batch(self) -> Any:
        return self.cur_batch

    def get_loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        weights = None
        if self.record:
            weights = self.record.weights
        if self.record and self.recording == "weights":  # the step will be made again
            self.record.buffers = {level.name: level.network.clone_buffers() for level in find_peers(self)}
            self.record.buffers[self.name] = self._buffers_before
        loss = self.compute_loss(batch, "step", weights)
        self.loss = write_into(self.loss, average_processes(loss.detach()))
        return loss, {"loss": self.loss}

    def backward(self, loss: Tensor, params: list[nn.Parameter], paths: list[Any], **betty: Any) -> None:
        """Set the gradients of the loss, and record them where this step is recorded.

        Of several processes the gradients are the mean; the recorded graph is that of this process's share.
        """
        weights = find_weights(self)
        create_graph = self.recording == "graph"
        gradients = torch.autograd.grad(loss, weights, create_graph=create_graph, allow_unused=True)
        total = fill_missing(gradients, weights)
        if self._own_gradients:
            total = [*torch._foreach_add(total, self._own_gradients)]
            self._own_gradients = []
        if self.record and create_graph:
            self.record.graph = total
        detached = []
        for gradient, parameter in zip(average_gradients(total), params, strict=True):
            detached.append(match_strides(gradient.detach(), parameter))
        if self.record:
            self.record.gradients = detached
        self.set_grads(params, detached)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the step if the loss and its gradients are finite; otherwise leave everything as it was."""
        buffers = [*self.module.buffers()]
        before = [*self._buffers_before.values()]
        self.guard.make_step(self.find_finite(), self.optimizer, buffers, before)

    def find_finite(self) -> Tensor:
        """Whether the coming step is to be made: a bool without dimensions, on the device."""
        gradients = []
        for parameter in self.trainable_parameters():
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        assert self.loss is not None
        return self.guard.find_finite(self.loss, gradients)

    def end_step(self) -> None:
        """Forget the recorded step and free its graph."""
        self.record = None
        self._own_gradients = []

    # -- the loss --------------------------------------------------------------------------------------------

    def compute_loss(self, batch: Any, reason: Pass, weights: dict[str, Tensor] | None) -> Tensor:
        """The loss of the last step that was begun, at `weights`; None: at the module's own."""
        self._pass = reason
        try:
            with self.network.with_weights(weights):
                return self.training_step_exec(batch)
        finally:
            self._pass = "free"

    def training_step_exec(self, batch: Any) -> Tensor:
        with self.computing(self.moment_of(self._count)):
            return self.training_step(batch)

    @contextmanager
    def computing(self, moment: Moment) -> Iterator[None]:
        """The random numbers and the precision of this level, this process's share of the batch where there are
        several, and what is to be differentiated twice made for that."""
        device = torch.device(self.device).type
        dtype = self.conditions.autocast
        enabled = dtype is not None and self.allows_bfloat16
        twice = WrittenOutDoubleBackward() if self.recording == "graph" else nullcontext()
        with seed_generators(moment), torch.autocast(device, dtype=dtype, enabled=enabled), twice, divide_step():
            yield

    @property
    def allows_bfloat16(self) -> bool:
        """Whether this step may be computed in bfloat16: none that a hypergradient is taken through.

        Against float64, one through bfloat16 has a cosine of 0.80 at the third joint step, 0.98 at the
        fortieth (32 px, Adam).
        """
        return self.recording == "nothing"

    @property
    def needs_lower_gradients(self) -> bool:
        """Whether what is computed now will be differentiated by what the level depends on."""
        return self.recording == "graph" or self._pass == "replay"

    def own_loss(self, compute: Callable[[], Tensor]) -> Tensor:
        """A part of the loss that depends on no other level, to be added to the rest of it.

        In a step its gradient is taken at once and its graph freed: no hypergradient goes through it. A replay, which
        asks for the derivative by another level, leaves it out.
        """
        if self._pass == "free":
            return compute()
        if self._pass == "replay":
            return torch.zeros((), device=self.device)
        loss = compute()
        weights = find_weights(self)
        device = torch.device(self.device).type
        with torch.autocast(device, enabled=False):
            found = torch.autograd.grad(loss, weights, allow_unused=True)
            gradients = fill_missing(found, weights)
        if self._own_gradients:
            gradients = [*torch._foreach_add(self._own_gradients, gradients)]
        self._own_gradients = gradients
        return loss.detach()

    def cut_graph(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """Detach the lower levels' outputs where the step's graph is recorded; the hypergradient joins it again."""
        if self.record and self.recording == "graph":
            return self.record.cut_graph(outputs)
        return outputs


def find_weights(level: Level) -> list[Tensor]:
    """What the level's step differentiates its loss by: where it is recorded, the copies of the record."""
    return level.record.trainable if level.record else [*level.trainable_parameters()]


def find_peers(level: Level) -> list[Level]:
    """All levels of the engine, `level` first: Betty sets the others as attributes under their names."""
    peers = [level]
    for value in vars(level).values():
        if isinstance(value, Level) and value is not level:
            peers.append(value)
    return peers
