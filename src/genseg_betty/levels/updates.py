"""The derivative of an optimizer's update with respect to the gradient it was given.

Eq. 5 and 7 of GenSeg write a plain gradient step, G' = G - η ∇L. Adam and RMSprop make another step,
G' = G - u(∇L). Their u acts on each entry alone, so du/d∇L is diagonal and has a closed form in the gradient
and the optimizer's state after the step. Everything here is divided by the learning rate.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
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


def _sgd(group: Group, states: Sequence[State], gradients: Iterator[Tensor]) -> Iterator[Tensor]:
    for gradient in gradients:
        yield torch.full_like(gradient, 1.0 + group["momentum"] if group["nesterov"] else 1.0)


def _adam(group: Group, states: Sequence[State], gradients: Iterator[Tensor]) -> Iterator[Tensor]:
    beta1, beta2 = group["betas"]
    step = states[0]["step"].double()  # the parameters of a group step together; a tensor: no device is asked for it
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    for state, gradient in zip(states, gradients, strict=True):
        root = _guarded_root(state["exp_avg_sq"] / correction2)
        # u = mean / denominator; d mean/dg = (1 - β1) / correction1, d root/dg = (1 - β2) g / (correction2 · root)
        bend = (state["exp_avg"] * gradient).mul_((1 - beta2) / (correction1 * correction2))
        bend.div_(root)
        denominator = root.add_(group["eps"])  # in place: these are as large as the weights
        bend.div_(denominator).neg_().add_((1 - beta1) / correction1).div_(denominator)
        del root, denominator  # not to be held while the result is used
        yield bend


def _rmsprop(group: Group, states: Sequence[State], gradients: Iterator[Tensor]) -> Iterator[Tensor]:
    for state, gradient in zip(states, gradients, strict=True):
        root = _guarded_root(state["square_avg"].clone())
        # u = g / denominator; d root/dg = (1 - α) g / root
        bend = (gradient * gradient).mul_(1 - group["alpha"]).div_(root)
        denominator = root.add_(group["eps"])
        bend.div_(denominator).neg_().add_(1).div_(denominator)
        del root, denominator
        yield bend


# By exact class: a subclass may make another step.
_DERIVATIVES: dict[type, Callable[[Group, Sequence[State], Iterator[Tensor]], Iterator[Tensor]]] = {
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
    derivatives = _DERIVATIVES[type(optimizer)]
    remaining = zip(before, gradients, strict=True)
    for group in optimizer.param_groups:
        states = [optimizer.state[parameter] for parameter in group["params"]]
        for derivative in derivatives(group, states, _decayed(group, islice(remaining, len(states)))):
            yield derivative, float(group["lr"])


def _decayed(group: Group, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    """The gradients with the weight decay that the optimizer adds to them, one at a time."""
    for before, gradient in pairs:
        if group["weight_decay"] and not group.get("decoupled_weight_decay"):
            yield gradient.detach() + group["weight_decay"] * before.detach()
        else:
            yield gradient.detach()
