"""What a node of a graph may know of the walk that visits it.

Torch's own nodes leave out the derivatives that nobody asked for in this walk of the graph. The nodes of a
`torch.autograd.Function` are told by `needs_input_grad` only which inputs can be differentiated at all. A hypergradient
walks a graph to the images or to the architecture, and needs no derivative by the weights on the way.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def with_nodes(parts: Iterable[Tensor | None]) -> list[Tensor | None]:
    """The parts, leaves among them as views of themselves: these have nodes that the engine answers for at once.

    `torch.autograd.grad` answers for a leaf by an exception, which takes as long as a small convolution.
    """
    views = []
    for part in parts:
        if part is not None and part.requires_grad and part.is_leaf:
            part = part.view_as(part)
        views.append(part)
    return views


def find_wanted_inputs(ctx: Any) -> list[bool]:
    """For each input of the function whose `backward` runs now: whether its derivative will be used.

    Args:
        ctx: the context that `backward` was given.
    """
    # A tensor that needs no gradient has no node here; what is no tensor has no place in the list at all.
    nodes = iter([node for node, _ in ctx.next_functions if node is not None])
    return [needed and _is_visited(next(nodes)) for needed in ctx.needs_input_grad]


def _is_visited(node: Any) -> bool:
    """Whether the engine visits this node in the walk that it is making."""
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # how the answer reads for a leaf that `torch.autograd.grad` was asked for
        return True


def refuse_third_derivative() -> None:
    """Raise RuntimeError if the walk of a gradient's graph records a graph itself.

    A function that is written out up to its second derivative would be a constant in it, without a word.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a third derivative was asked for (create_graph=True where a gradient's own graph is walked), but layers "
            "that are computed within WrittenOutDoubleBackward have two: leave create_graph out, or compute the step "
            "outside that context"
        )
