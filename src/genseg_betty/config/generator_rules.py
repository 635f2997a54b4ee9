"""Keys of a generator that exclude or need each other: found before any network is built."""

from collections.abc import Mapping
from typing import Any

from genseg_betty.config.wording import show


def find_generator_faults(generator: Mapping[str, Any]) -> list[str]:
    """One line for each fault of a `generator` section; keys whose values are of a wrong kind are left out of it."""
    kernels = generator.get("kernels")
    if not isinstance(kernels, list):
        return []
    has_odd = any(kernel % 2 for kernel in kernels)
    if has_odd or kernels != sorted(set(kernels)):
        return [f"generator.kernels={show(kernels)}: expected even sizes in rising order, as [4, 6, 8]"]
    if len(kernels) == 1 and generator.get("branches") != "single":
        return [
            f"generator.kernels={show(kernels)}: a cell has nothing to choose from; expected two or more sizes, or "
            "generator.branches=single"
        ]
    return []
