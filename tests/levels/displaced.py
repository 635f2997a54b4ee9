"""Finite differences of a real joint step: L_val where the architecture is displaced right before G's step.

The step is the engine's own, from the same state, on the same batches, with the same random numbers. H has made its
step by then, at the architecture as it was: in the definition of the hypergradient H is a constant.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from genseg_betty.data.batches import Batch
from genseg_betty.multilevel.engine import PhasedEngine
from states import relative_error
from workload import gradient_of_architecture


@dataclass
class RecordedJointStep:
    """A joint step of an engine, which can be made again.

    Attributes:
        state: of the engine before the step.
        gradient: ∇_A as A's optimizer got it, [n].
        loss: L_val of the step.
    """

    engine: PhasedEngine
    state: dict[str, Any]
    gradient: Tensor
    loss: Tensor


def record_joint_step(engine: PhasedEngine, steps_before: int) -> RecordedJointStep:
    """The joint step that follows `steps_before` others."""
    while engine.segmenter.count < steps_before:
        engine.advance()
    state = clone_state(engine.state_dict())
    gradient = gradient_of_architecture(engine)
    assert all(level.guard.skipped == 0 for level in engine.levels)
    return RecordedJointStep(engine, state, gradient, engine.architecture.loss.clone())


def clone_state(state: Any) -> Any:
    """A copy of nested dicts and lists with tensors of its own; `copy.deepcopy` takes as long as a step."""
    if isinstance(state, dict):
        return {key: clone_state(value) for key, value in state.items()}
    if isinstance(state, list):
        return [clone_state(value) for value in state]
    return state.detach().clone() if isinstance(state, Tensor) else state


def find_displaced_loss(step: RecordedJointStep, displacement: Tensor, in_images: bool) -> Tensor:
    """L_val of the step with A displaced by `displacement` [n] when G makes its step.

    Args:
        in_images: whether A is displaced in the images of stage II as well. If not, it has its own value again before
            S's step, as in Eq. 9, where A reaches S' through G' alone.
    """
    engine = step.engine
    engine.load_state_dict(clone_state(step.state))
    generation, segmentation, search = engine.generator, engine.segmenter, engine.architecture
    parameters = search.trainable_parameters()
    undisplaced = parameters_to_vector(parameters).detach().clone()
    buffers = generation.network.clone_buffers()
    batch_of_generation, batch_of_segmentation = generation.get_batch, segmentation.get_batch

    def displace() -> Batch:
        vector_to_parameters(undisplaced + displacement, parameters)
        # What G drew for H, and for itself to use again, was drawn at the undisplaced A: it is drawn anew.
        for name, buffer in generation.module.named_buffers():
            buffer.copy_(buffers[name])
        generation.end_step()
        return batch_of_generation()

    def put_back() -> Batch:
        vector_to_parameters(undisplaced, parameters)
        return batch_of_segmentation()

    # A level asks for its batch first of all. ∇_A at the displaced point is not asked for, and nothing is kept for it.
    with ExitStack() as stack:
        stack.enter_context(patch.object(engine, "record_for"))
        for level in (generation, segmentation):
            stack.enter_context(patch.object(level, "recording", "nothing"))
        stack.enter_context(patch.object(generation, "get_batch", displace))
        if not in_images:
            stack.enter_context(patch.object(segmentation, "get_batch", put_back))
        stack.enter_context(patch.object(search, "backward", lambda *_, **__: None))
        stack.enter_context(patch.object(search, "grad_callback", None, create=True))
        engine.advance()
    return search.loss.clone()


def find_slopes(step: RecordedJointStep, directions: Tensor, epsilon: float, in_images: bool) -> Tensor:
    """(L_val(A + ε d) - L_val(A - ε d)) / 2 ε for each direction d: [m, n] -> [m]."""
    slopes = []
    for direction in directions:
        plus, minus = (find_displaced_loss(step, sign * epsilon * direction, in_images) for sign in (1, -1))
        slopes.append((plus - minus) / (2 * epsilon))
    return torch.stack(slopes)


def find_left_out_rate(step: RecordedJointStep) -> float:
    """What multiplies ∇_A to the derivative of L_val: η_g η_s for `exact`; for `exact_full`, which keeps η_g, η_s."""
    levels = step.engine.generator, step.engine.segmenter
    rate_g, rate_s = (level.optimizer.param_groups[0]["lr"] for level in levels)
    return rate_s if step.engine.plan.hypergradient == "exact_full" else rate_g * rate_s


def find_disagreement(step: RecordedJointStep, epsilon: float, in_images: bool) -> float:
    """‖slopes - ⟨∇_A, directions⟩‖ / ‖⟨∇_A, directions⟩‖ along ∇_A and a random direction, both of length √n."""
    size = len(step.gradient)
    random = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = size**0.5 * torch.nn.functional.normalize(torch.stack([step.gradient, random]))
    expected = find_left_out_rate(step) * directions @ step.gradient
    return relative_error(find_slopes(step, directions, epsilon, in_images), expected)
