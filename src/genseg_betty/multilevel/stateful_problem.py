"""A Betty problem whose whole state is (weights, optimizer state, count): what checkpoints and captured steps hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from betty.configs import Config
from betty.problems import ImplicitProblem
from torch import Tensor, nn
from torch.optim import Optimizer

from genseg_betty.multilevel.finite_steps import FiniteSteps
from genseg_betty.multilevel.functional_module import FunctionalModule
from genseg_betty.multilevel.step_inputs import Moment


@dataclass(frozen=True)
class Conditions:
    """What all levels of a run share.

    Attributes:
        seed: that of the run.
        autocast: bfloat16 on devices that have it; None: full precision.
        precondition: whether a hypergradient goes through the optimizer's own update ("step") or a plain one
            ("identity").
    """

    seed: int = 0
    autocast: torch.dtype | None = None
    precondition: Literal["step", "identity"] = "step"


class StatefulProblem(ImplicitProblem):
    """Gives Betty a module and an optimizer that stay as they were given, and a state to resume from to the bit.

    Args:
        name: how the other levels address this one (`self.<name>`).
        module: the weights of this level.
        optimizer: kept as it is given (Betty would rebuild it).
        batches: count of the step -> batch; a pure function.
        conditions: what all levels share.
        config: Betty's; `type` names this level's hypergradient.

    Attributes:
        network: `module` as a function of its weights and buffers.
        guard: makes the steps where they are finite.
        loss: of the last step, a number without dimensions on the device; None before the first step.
        held_batch: what a captured step reads in place of the batch of its count.
    """

    guard: FiniteSteps
    seed_word: ClassVar[str] = ""
    """What the seeds of the level's random numbers are derived from in place of its name."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        optimizer: Optimizer,
        batches: Callable[[int], Any],
        conditions: Conditions,
        config: Config | None = None,
    ) -> None:
        super().__init__(name, config=config or Config(), module=module, optimizer=optimizer)
        self.batches = batches
        self.conditions = conditions
        self.network = FunctionalModule(module)
        self.loss: Tensor | None = None
        self.held_batch: Any = None

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def patch_module(self) -> None:
        """Betty's; from here on the device is known."""
        super().patch_module()
        self.guard = FiniteSteps(self.device)

    def patch_optimizer(self) -> None:
        """Betty would rebuild the optimizer without its groups and options."""

    # -- what follows from the count of a step ---------------------------------------------------------------

    def batch_of(self, count: int) -> Any:
        """The batch of the step number `count`, from 1, on the level's device."""
        return self.batches(count - 1).to(self.device)

    def moment_of(self, count: int, purpose: str = "") -> Moment:
        """Names the random numbers of the step number `count`."""
        return Moment(self.conditions.seed, self.name, count, purpose, self.seed_word)

    # -- what a captured step asks for -----------------------------------------------------------------------

    def advance_count(self) -> None:
        """Count a step that was made without this Python."""
        self._count += 1

    def host_state(self) -> dict[str, Any]:
        """What a step changes in Python alone."""
        return {"_count": self._count, "ready": list(self.ready), "_inner_loop_start": self._inner_loop_start}

    def restore_host_state(self, state: dict[str, Any]) -> None:
        """Go back to such a state."""
        for name, value in state.items():
            setattr(self, name, value)
        for parameter in self.trainable_parameters():
            parameter.grad = None  # Betty would add the next gradient to it

    # -- checkpoints -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Betty's state and what it leaves out: the count, from which batches and random numbers follow, and what is
        reported of the last step, which may be asked for before the next one."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "count": self._count,
            "loss": self.loss,
            **self.guard.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.module.load_state_dict(state_dict["module"])
        self.optimizer.load_state_dict(state_dict["optimizer"])
        # What was saved on another device may be laid out otherwise.
        states: dict[nn.Parameter, dict[str, Any]] = dict(self.optimizer.state)
        for parameter, state in states.items():
            moments = {name: value for name, value in state.items() if torch.is_tensor(value) and value.ndim}
            state.update({name: match_strides(value, parameter) for name, value in moments.items()})
        self._count = state_dict["count"]
        loss = state_dict.get("loss")  # not in older Runs
        self.loss = None if loss is None else loss.detach().to(self.device, copy=True)
        self.guard.load_state_dict(state_dict)


def match_strides(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient with the parameter's strides: torch's fused optimizers read both as if they had the same."""
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
