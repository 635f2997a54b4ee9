"""What the tests of all families of generators share."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

import torch
from torch import Tensor, nn

from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.search_space import SearchSpace
from genseg_betty.generators.searchable import SearchableGenerator

Family = TypeVar("Family", bound=SearchableGenerator)
SPACE_KEYS = [field.name for field in fields(SearchSpace)]


def build_family(
    family: type[Family], masks: int, channels: int, image_size: int | Sequence[int], **settings: object
) -> Family:
    """A generator of flat settings, as conf/generator has them."""
    own = {key: value for key, value in settings.items() if key not in SPACE_KEYS}
    searched = {key: value for key, value in settings.items() if key in SPACE_KEYS}
    return family(masks, channels, image_size, space=SearchSpace(**searched), **own)


def count_weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def draw_uniform(generator: SearchableGenerator) -> dict[str, Tensor]:
    """α where no operation is preferred, in the precision of the generator."""
    precision: torch.dtype = next(generator.parameters()).dtype
    return Architecture(**generator.cells).to(precision)()
