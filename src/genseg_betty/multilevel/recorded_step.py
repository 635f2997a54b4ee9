"""What a step leaves behind for the hypergradient that will go through it."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from genseg_betty.memory import return_freed
from genseg_betty.multilevel.tensor_lists import clone_together

Recording = Literal["nothing", "weights", "graph"]
"""What a step leaves behind: nothing; the weights before it; these and its gradients with their graph."""
NamedBuffers = dict[str, dict[str, Tensor]]
"""Buffers by the name of the level that owns them, then by their own name."""


def fill_missing(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Zeros in place of the gradients that autograd leaves out."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]


class RecordedStep:
    """One step of a level.

    Attributes:
        weights: those before the step, by name. The step differentiates its loss by these, which no optimizer writes.
        gradients: of the loss by the trainable weights, as the optimizer took them; empty until they are there.
        graph: the same gradients as functions of what the level depends on; None where the step keeps none.
        buffers: those of every level as the step found them; empty where it keeps its graph.
        mixed_products: by the name of a level, ∂/∂(that level's weights) of ⟨gradients, direction⟩, once
            `backpropagate` has computed it.
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
        self.buffers: NamedBuffers = {}
        self.mixed_products: dict[str, list[Tensor]] = {}
        self._cuts: list[tuple[Tensor, Tensor]] = []  # outputs of other levels, and the leaves that stand for them

    @property
    def names(self) -> list[str]:
        """The names of the trainable weights."""
        return [name for name, weight in self.weights.items() if weight.requires_grad]

    @property
    def trainable(self) -> list[Tensor]:
        """The trainable weights before the step."""
        return [weight for weight in self.weights.values() if weight.requires_grad]

    def cut_graph(self, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Detach the outputs of other levels; `backpropagate` joins the two halves of the graph again."""
        leaves = tuple(tensor.detach().requires_grad_() if tensor.requires_grad else tensor for tensor in outputs)
        self._cuts = [(output, leaf) for output, leaf in zip(outputs, leaves, strict=True) if leaf.requires_grad]
        return leaves

    def backpropagate(self, direction: Sequence[Tensor], parameters: Mapping[str, Sequence[Tensor]]) -> None:
        """Fill `mixed_products` for these parameters of other levels, by the levels' names. Frees the graph.

        Args:
            direction: one tensor for each of `gradients`.
            parameters: the name of a level -> its trainable weights.
        """
        every = [parameter for group in parameters.values() for parameter in group]
        if self._cuts:
            # First through this level's half of the graph, which is then freed, then through the half of the others.
            vectors = self._backpropagate_to([leaf for _, leaf in self._cuts], direction)
            return_freed()
            outputs = [output for output, _ in self._cuts]
            self._cuts = []
            found = fill_missing(torch.autograd.grad(outputs, every, vectors, allow_unused=True), every)
        else:
            found = self._backpropagate_to(every, direction)
        remaining = iter(found)
        for name, group in parameters.items():
            self.mixed_products[name] = [next(remaining) for _ in group]

    def _backpropagate_to(self, ends: Sequence[Tensor], direction: Sequence[Tensor]) -> list[Tensor]:
        """∂/∂ends of ⟨gradients, direction⟩ through this level's half of the graph, which is freed."""
        if self.graph is None:
            raise RuntimeError("the step was recorded without its graph")
        pairs = [(g, d) for g, d in zip(self.graph, direction, strict=True) if g.requires_grad]
        outputs, vectors = zip(*pairs, strict=True)
        found = torch.autograd.grad(outputs, ends, vectors, allow_unused=True)
        self.graph = None
        return fill_missing(found, ends)
