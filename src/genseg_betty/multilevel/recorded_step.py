"""What a step leaves behind for the hypergradient that will go through it."""

from collections.abc import Mapping, Sequence
from itertools import chain, islice
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
    filled = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        filled.append(gradient)
    return filled


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
        for copy, parameter in zip(copies, parameters.values(), strict=True):
            copy.requires_grad_(parameter.requires_grad)
        self.weights = dict(zip(parameters, copies, strict=True))
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
        inputs = []
        self._cuts = []
        for output in outputs:
            if output.requires_grad:
                leaf = output.detach().requires_grad_()
                self._cuts.append((output, leaf))
                inputs.append(leaf)
            else:
                inputs.append(output)
        return tuple(inputs)

    def backpropagate(self, direction: Sequence[Tensor], parameters: Mapping[str, Sequence[Tensor]]) -> None:
        """Fill `mixed_products` for these parameters of other levels, by the levels' names. Frees the graph.

        Args:
            direction: one tensor for each of `gradients`.
            parameters: the name of a level -> its trainable weights.
        """
        every = [*chain.from_iterable(parameters.values())]
        if self._cuts:
            # First through this level's half of the graph, which is then freed, then through the half of the others.
            outputs, leaves = zip(*self._cuts, strict=True)
            vectors = self._backpropagate_to(leaves, direction)
            return_freed()
            self._cuts = []
            found = torch.autograd.grad(outputs, every, vectors, allow_unused=True)
            products = fill_missing(found, every)
        else:
            products = self._backpropagate_to(every, direction)
        remaining = iter(products)
        for name, group in parameters.items():
            self.mixed_products[name] = [*islice(remaining, len(group))]

    def _backpropagate_to(self, ends: Sequence[Tensor], direction: Sequence[Tensor]) -> list[Tensor]:
        """∂/∂ends of ⟨gradients, direction⟩ through this level's half of the graph, which is freed."""
        if self.graph is None:
            raise RuntimeError("the step was recorded without its graph")
        outputs = []
        vectors = []
        for gradient, vector in zip(self.graph, direction, strict=True):
            if gradient.requires_grad:
                outputs.append(gradient)
                vectors.append(vector)
        found = torch.autograd.grad(outputs, ends, vectors, allow_unused=True)
        self.graph = None
        return fill_missing(found, ends)
