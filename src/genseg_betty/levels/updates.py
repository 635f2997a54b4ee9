"""The derivative of an optimizer's update with respect to the gradient it was given.

Eq. 5 and 7 of GenSeg write a plain gradient step, G' = G - η ∇L. Adam and RMSprop make another step,
G' = G - u(∇L). Their u acts on each entry alone, so du/d∇L is diagonal and has a closed form in the gradient
and the optimizer's state after the step. Everything here is divided by the learning rate.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from genseg_betty.errors import UserError

Group = dict[str, Any]
State = dict[str, Any]


def _guarded_root(square: Tensor) -> Tensor:
    """√square, but never 0: where it would be, all gradients were 0 so far, and any divisor gives the limit, 0."""
    return square.sqrt_().clamp_min_(torch.finfo(square.dtype).tiny)


def _sgd(group: Group, state: State, gradient: Tensor) -> Tensor:
    return torch.full_like(gradient, 1.0 + group["momentum"] if group["nesterov"] else 1.0)


def _adam(group: Group, state: State, gradient: Tensor) -> Tensor:
    beta1, beta2 = group["betas"]
    step = float(state["step"])
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    root = _guarded_root(state["exp_avg_sq"] / correction2)
    # u = mean / denominator; d mean/dg = (1 - β1) / correction1, d root/dg = (1 - β2) g / (correction2 · root)
    bend = (state["exp_avg"] * gradient).mul_((1 - beta2) / (correction1 * correction2))
    bend.div_(root)
    denominator = root.add_(group["eps"])  # in place: these are as large as the weights
    return bend.div_(denominator).neg_().add_((1 - beta1) / correction1).div_(denominator)


def _rmsprop(group: Group, state: State, gradient: Tensor) -> Tensor:
    root = _guarded_root(state["square_avg"].clone())
    # u = g / denominator; d root/dg = (1 - α) g / root
    bend = (gradient * gradient).mul_(1 - group["alpha"]).div_(root)
    denominator = root.add_(group["eps"])
    return bend.div_(denominator).neg_().add_(1).div_(denominator)


# By exact class: a subclass may make another step.
_DERIVATIVES: dict[type, Callable[[Group, State, Tensor], Tensor]] = {
    SGD: _sgd,
    Adam: _adam,
    AdamW: _adam,
    RMSprop: _rmsprop,
}


def check_optimizer(optimizer: Optimizer) -> None:
    """Raise UserError if the derivative of this optimizer's update is not known in closed form."""
    name = type(optimizer).__name__
    if type(optimizer) not in _DERIVATIVES:
        known = ", ".join(kind.__name__ for kind in _DERIVATIVES)
        raise UserError(f"the derivative of {name}'s update is not known: use one of {known}, or hypergradient=none")
    for group in optimizer.param_groups:
        unknown = [key for key in ("amsgrad", "centered", "maximize", "dampening") if group.get(key)]
        if unknown:
            raise UserError(
                f"the derivative of {name}'s update is not known with {', '.join(unknown)}: leave that out, or use "
                "hypergradient=none"
            )


def update_derivatives(
    optimizer: Optimizer, before: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Iterator[tuple[Tensor, float]]:
    """Yield (du/d∇L / η, η) for every parameter of `optimizer`, in the order of its parameter groups.

    Args:
        optimizer: the optimizer right after its step.
        before: the parameters before the step, as a weight decay that is added to the gradient saw them.
        gradients: the gradients that the step used, without weight decay.
    """
    derivative = _DERIVATIVES[type(optimizer)]
    index = 0
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = gradients[index].detach()
            if group["weight_decay"] and not group.get("decoupled_weight_decay"):
                gradient = gradient + group["weight_decay"] * before[index].detach()
            yield derivative(group, optimizer.state[parameter], gradient), float(group["lr"])
            index += 1
