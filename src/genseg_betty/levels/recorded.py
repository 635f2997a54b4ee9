"""A step of a level, kept for the hypergradient that will go through it."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from genseg_betty.memory import return_freed
from genseg_betty.multilevel.tensor_lists import clone_together

Recording = Literal["nothing", "weights", "graph"]
"""What a step leaves behind: nothing; the weights before it; these and its gradients with their graph."""


def filled(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Zeros in place of the gradients that autograd leaves out."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]


class RecordedStep:
    """What a hypergradient needs of a step.

    Attributes:
        weights: those before the step, by name. The step differentiates its loss by these, which no optimizer writes.
        gradients: of the loss by the trainable weights, as the optimizer took them; empty until they are there.
        graph: the same gradients as functions of what the level depends on; None where the step keeps none.
        buffers: of each level, named, as the step found them; empty where it keeps its graph.
        mixed: by the name of a level, ∂/∂(that level's weights) of ⟨gradients, direction⟩, once `walk` found it.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = dict(module.named_parameters())
        copies = clone_together([*parameters.values()])
        self.weights = {
            name: copy.requires_grad_(parameter.requires_grad)
            for (name, parameter), copy in zip(parameters.items(), copies, strict=True)
        }
        self.gradients: list[Tensor] = []
        self.graph: list[Tensor] | None = None
        self.buffers: dict[str, dict[str, Tensor]] = {}
        self.mixed: dict[str, list[Tensor]] = {}
        self._seam: list[tuple[Tensor, Tensor]] = []  # what other levels made, and the leaves in its place

    @property
    def names(self) -> list[str]:
        """Of the trainable weights."""
        return [name for name, weight in self.weights.items() if weight.requires_grad]

    @property
    def trainable(self) -> list[Tensor]:
        """The trainable weights before the step."""
        return [weight for weight in self.weights.values() if weight.requires_grad]

    def cut(self, made: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Leaves in the place of what other levels made for this step: there its graph ends and theirs begins."""
        leaves = tuple(tensor.detach().requires_grad_() if tensor.requires_grad else tensor for tensor in made)
        self._seam = [(origin, leaf) for origin, leaf in zip(made, leaves, strict=True) if leaf.requires_grad]
        return leaves

    def walk(self, direction: Sequence[Tensor], parameters: Mapping[str, Sequence[Tensor]]) -> None:
        """Fill `mixed` for these parameters of other levels, named; one walk for all, which frees the graph.

        Where the graph is cut, through this level's half, which is then freed, and with what comes out of it through
        theirs.
        """
        if self.graph is None:
            raise RuntimeError("the step was recorded without its graph")
        every = [parameter for group in parameters.values() for parameter in group]
        ends = [leaf for _, leaf in self._seam] or every
        outputs, vectors = zip(
            *[(g, d) for g, d in zip(self.graph, direction, strict=True) if g.requires_grad], strict=True
        )
        found = filled(torch.autograd.grad(outputs, ends, vectors, allow_unused=True), ends)
        del outputs
        self.graph = None
        if self._seam:
            return_freed()  # what this half held, for the weights of the next
            origins, self._seam = [origin for origin, _ in self._seam], []
            found = filled(torch.autograd.grad(origins, every, found, allow_unused=True), every)
        remaining = iter(found)
        self.mixed.update({name: [next(remaining) for _ in group] for name, group in parameters.items()})
