"""The derivative of an optimizer's update with respect to the gradient it was given.

Eq. 5 and 7 of GenSeg write a plain gradient step, G' = G - η ∇L. Adam and RMSprop make another step,
G' = G - u(∇L). Their u acts on each entry alone, so du/d∇L is diagonal and has a closed form in the gradient
and the optimizer's state after the step. Everything here is divided by the learning rate.

Parameters are handled in chunks, by operators on lists: to tell a GPU of an operator takes longer than to compute it
for one small parameter, and a network has hundreds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from genseg_betty.errors import UserError
from genseg_betty.multilevel.tensor_lists import CHUNK, split_into_chunks

Group = dict[str, Any]
State = dict[str, Any]
Tensors = list[Tensor]
Differentiate = Callable[[Sequence[State], Tensors], Tensors | float]
"""(states, gradients) of a chunk of a group -> du/d∇L / η."""
UNKNOWN_OPTIONS = ("amsgrad", "centered", "maximize", "dampening")
"""Options of an optimizer with which the derivative of its update is not known."""


@dataclass
class Chunk:
    """du/d∇L / η of parameters that follow each other.

    Attributes:
        derivatives: a tensor for each parameter, which the caller may write over; or one number for every entry of all.
        parameters: how many there are.
        rate: η; a tensor where the optimizer holds a tensor.
    """

    derivatives: Tensors | float
    parameters: int
    rate: float | Tensor

    def multiply(self, vectors: Tensors, with_rate: bool) -> Tensors:
        """du/d∇L · vectors, divided by η unless `with_rate`; the derivatives are written over."""
        if isinstance(self.derivatives, list):
            products = self.derivatives
            torch._foreach_mul_(products, vectors)
        else:
            products = [*torch._foreach_mul(vectors, self.derivatives)]
        if with_rate and isinstance(self.rate, Tensor):
            torch.ops.aten._foreach_mul_.Tensor(products, self.rate.to(products[0].dtype))
        elif with_rate:
            torch._foreach_mul_(products, self.rate)
        return products


def _keep_above_zero(roots: Tensors) -> None:
    """Where √square is 0, all gradients were 0 so far, and any divisor gives the limit, 0."""
    torch._foreach_clamp_min_(roots, torch.finfo(roots[0].dtype).tiny)


def _differentiate_sgd(group: Group, states: Sequence[State]) -> Differentiate:
    """u = g, or (1 + momentum) g with Nesterov's momentum."""
    derivative = 1.0 + group["momentum"] if group["nesterov"] else 1.0
    return lambda states, gradients: derivative


def _differentiate_adam(group: Group, states: Sequence[State]) -> Differentiate:
    """u = mean / denominator; d mean/dg = (1 - β1) / correction1, d root/dg = (1 - β2) g / (correction2 · root)."""
    beta1, beta2 = group["betas"]
    # The parameters of a group step together. Numbers without dimensions stay tensors: no device is asked for them.
    step = states[0]["step"].double()
    correction1 = 1 - beta1**step
    correction2 = 1 - beta2**step
    bend = (beta2 - 1) / (correction1 * correction2)
    slope = (1 - beta1) / correction1

    def differentiate(states: Sequence[State], gradients: Tensors) -> Tensors:
        # By name, as `torch._foreach_div` would ask the device for the number. One kernel needs it in the lists' type.
        aten = torch.ops.aten
        dtype = gradients[0].dtype
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        roots = [*aten._foreach_div.Tensor(squares, correction2.to(dtype))]
        torch._foreach_sqrt_(roots)
        _keep_above_zero(roots)
        derivatives = [*torch._foreach_mul(means, gradients)]
        aten._foreach_mul_.Tensor(derivatives, bend.to(dtype))
        torch._foreach_div_(derivatives, roots)
        torch._foreach_add_(roots, group["eps"])  # the denominators, in place as all of these
        torch._foreach_div_(derivatives, roots)
        aten._foreach_add_.Tensor(derivatives, slope.to(dtype))
        torch._foreach_div_(derivatives, roots)
        return derivatives

    return differentiate


def _differentiate_rmsprop(group: Group, states: Sequence[State]) -> Differentiate:
    """u = g / denominator; d root/dg = (1 - α) g / root."""

    def differentiate(states: Sequence[State], gradients: Tensors) -> Tensors:
        squares = [state["square_avg"] for state in states]
        roots = [*torch._foreach_sqrt(squares)]
        _keep_above_zero(roots)
        derivatives = [*torch._foreach_mul(gradients, gradients)]
        torch._foreach_mul_(derivatives, group["alpha"] - 1)
        torch._foreach_div_(derivatives, roots)
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_div_(derivatives, roots)
        torch._foreach_add_(derivatives, 1)
        torch._foreach_div_(derivatives, roots)
        return derivatives

    return differentiate


# By exact class: a subclass may make another step.
_DERIVATIVES: dict[type, Callable[[Group, Sequence[State]], Differentiate]] = {
    SGD: _differentiate_sgd,
    Adam: _differentiate_adam,
    AdamW: _differentiate_adam,
    RMSprop: _differentiate_rmsprop,
}


def check_optimizer(optimizer: Optimizer) -> None:
    """Raise UserError if the derivative of this optimizer's update is not known in closed form."""
    name = type(optimizer).__name__
    if type(optimizer) not in _DERIVATIVES:
        known = ", ".join(kind.__name__ for kind in _DERIVATIVES)
        raise UserError(f"the derivative of {name}'s update is not known: use one of {known}, or hypergradient=none")
    for group in optimizer.param_groups:
        unknown = [key for key in UNKNOWN_OPTIONS if group.get(key)]
        if unknown:
            raise UserError(
                f"the derivative of {name}'s update is not known with {', '.join(unknown)}: leave that out, or use "
                "hypergradient=none"
            )


def chunk_update_derivatives(
    optimizer: Optimizer, before: Sequence[Tensor], gradients: Sequence[Tensor], identity: bool = False
) -> Iterator[Chunk]:
    """Yield du/d∇L / η and η for all parameters of `optimizer`, in the order of its parameter groups.

    Args:
        optimizer: the optimizer right after its step.
        before: the parameters before the step, as a weight decay that is added to the gradient saw them.
        gradients: the gradients that the step used, without weight decay.
        identity: yield the number 1 in place of all derivatives, whatever the optimizer is.
    """
    remaining = zip(before, gradients, strict=True)
    for group in optimizer.param_groups:
        rate = group["lr"]
        if not isinstance(rate, Tensor):
            rate = float(rate)
        states = [optimizer.state[parameter] for parameter in group["params"]]
        differentiate = (lambda *_: 1.0) if identity else _DERIVATIVES[type(optimizer)](group, states)
        for places in split_into_chunks(group["params"], CHUNK, in_order=True):
            pairs = [*islice(remaining, len(places))]
            chunk_states = [states[place] for place in places]
            slopes = differentiate(chunk_states, _add_decay(group, pairs))
            yield Chunk(slopes, len(pairs), rate)


def _add_decay(group: Group, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensors:
    """The gradients of these pairs (parameter, gradient), with the weight decay that the optimizer adds to them."""
    gradients = [gradient.detach() for _, gradient in pairs]
    if not group["weight_decay"] or group.get("decoupled_weight_decay"):
        return gradients
    parameters = [before.detach() for before, _ in pairs]
    decayed = [*torch._foreach_mul(parameters, group["weight_decay"])]
    torch._foreach_add_(decayed, gradients)
    return decayed
