"""What the code that a config names by `_target_` takes."""

import importlib
import inspect
from typing import Any, get_type_hints


def inspect_target(target: str) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """Parameters and annotations of what `module.name` names, which is imported and not called.

    Raises whatever importing it raises, and ValueError where it is nothing to call.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise ValueError("it names no module")
    found = getattr(importlib.import_module(module_name), name)
    if not callable(found):
        raise ValueError(f"{name} is a {type(found).__name__}")
    try:
        hints = get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = {}  # annotations that cannot be evaluated: names are still checked
    return list(inspect.signature(found).parameters.values()), hints
