"""The vector-Jacobian products between the stages (GenSeg, Eq. 9-11), in the form that Betty calls.

    Eq. 9    dL_val/dA, the product of the two hops below with dL_val/dS': Betty's walk along the path
    Eq. 10   the hop from G' to A
    Eq. 11   the hop from S' to G'

Betty walks the path A -> G' -> S' -> L_val backwards. A hop gets the vector dL/dθ' of a level's new weights
θ' = θ - u(∇_θ L(θ, φ)), and returns the vector for what θ' depends on, φ:

    dL/dφ = -(∂²L/∂φ ∂θ)ᵀ · diag(du/d∇) · dL/dθ'

`exact` differentiates the gradient of the step itself: the same batch, the same dropout and augmentation, the
weights before the step. `finite_difference` replays that step at two displaced weights (DARTS, Liu 2019, Eq. 7).
The learning rate, a factor common to the whole chain, is left out; where two terms are added
(`exact_full`: the direct term A -> Î -> S' beside the chain), the chain's generator hop keeps its own.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import torch
from torch import Tensor

from genseg_betty.memory import return_freed
from genseg_betty.multilevel.joint_gradients import average_gradients
from genseg_betty.multilevel.level import Level, find_peers
from genseg_betty.multilevel.optimizer_derivatives import chunk_update_derivatives
from genseg_betty.multilevel.replay import find_record, replay_gradients

RADIUS = 0.01
"""Length of the displacement of `finite_difference` (DARTS, section 2.3).

On Pix2Pix's loss with Adam, whose L1 term has kinks, it is far too long: in float64 the result is 900 times too
large at 0.01, 16 times at 1e-4, and right to 6e-6 at 1e-7, which float32 does not resolve.
"""


def precondition(level: Level, vector: Sequence[Tensor], with_rate: bool) -> list[Tensor]:
    """diag(du/d∇) · vector, divided by the learning rate unless `with_rate`.

    Of several processes each brings the vector of its share of the batch; their mean is that of the joint batch.
    A list is emptied on the way: as large as the level's weights, it is not needed beside the product.
    """
    record = find_record(level)
    identity = level.conditions.precondition == "identity"
    remaining = pop_in_order(average_gradients(vector))
    products: list[Tensor] = []
    for chunk in chunk_update_derivatives(level.optimizer, record.trainable, record.gradients, identity):
        part = [*islice(remaining, chunk.parameters)]
        products += chunk.multiply(part, with_rate)
    return products


def pop_in_order(vector: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the tensors in their order; a list is emptied on the way."""
    if not isinstance(vector, list):
        yield from vector
        return
    vector.reverse()
    while vector:
        yield vector.pop()


def _hand_over(gradients: list[Tensor], lower: Level, sync: bool) -> list[Tensor]:
    """Betty's protocol: at the end of the last path (`sync`) a hop adds the gradients to the level itself."""
    if sync:
        lower.set_grads(lower.trainable_parameters(), gradients)
    return gradients


def _multiply_exactly(vector: Sequence[Tensor], curr: Level, prev: Level, sync: bool, with_rate: bool) -> list[Tensor]:
    products = find_record(curr).mixed_products
    if prev.name not in products:
        return_freed()
        direction = precondition(curr, vector, with_rate)
        torch._foreach_neg_(direction)
        # One walk for every level that a hop leads to from here: they all come with the same vector.
        parameters = {level.name: level.trainable_parameters() for level in find_next_levels(curr)}
        find_record(curr).backpropagate(direction, parameters)
    return _hand_over(products.pop(prev.name), prev, sync)


def find_next_levels(level: Level) -> list[Level]:
    """The levels that follow this one on the paths of a hypergradient, each once."""
    found: dict[Level, None] = {}  # in place of a set, as it keeps the order
    for peer in find_peers(level):
        for path in peer.paths:
            for upper, lower in pairwise(path[1:]):
                if upper is level:
                    found[lower] = None
    return list(found)


def exact(vector: Sequence[Tensor], curr: Level, prev: Level, sync: bool) -> list[Tensor]:
    """Eq. 10 or 11 by double backward through the recorded step, without the learning rate."""
    return _multiply_exactly(vector, curr, prev, sync, with_rate=False)


def exact_with_rate(vector: Sequence[Tensor], curr: Level, prev: Level, sync: bool) -> list[Tensor]:
    """The same with the learning rate: the generator's hop of `exact_full`."""
    return _multiply_exactly(vector, curr, prev, sync, with_rate=True)


def finite_difference(vector: Sequence[Tensor], curr: Level, prev: Level, sync: bool) -> list[Tensor]:
    """Eq. 10 or 11 by a central difference of ∇_φ L at the weights before the step, ± a small displacement."""
    parameters = prev.trainable_parameters()
    direction = precondition(curr, vector, with_rate=False)
    lengths = [torch.linalg.vector_norm(part) for part in direction]
    length = torch.linalg.vector_norm(torch.stack(lengths))
    epsilon = RADIUS / length.clamp_min(1e-15)
    before = [weight.detach() for weight in find_record(curr).trainable]
    sides = []
    for sign in (1, -1):
        displaced = [weight + sign * epsilon * d for weight, d in zip(before, direction, strict=True)]
        sides.append(replay_gradients(curr, displaced, parameters))
    difference = [(minus - plus) / (2 * epsilon) for plus, minus in zip(*sides, strict=True)]
    return _hand_over(difference, prev, sync)


HYPERGRADIENTS = {
    "exact": exact,
    "exact_with_rate": exact_with_rate,
    "finite_difference": finite_difference,
}
"""What `PhasedEngine` adds to Betty's own table."""
