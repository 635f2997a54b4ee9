"""The arguments that a component takes.

Components are read as source, not imported: importing them brings PyTorch, which takes seconds that a mistyped key
should not cost. Where the source alone does not tell, they are imported. Code that is not ours is always imported
before it is called.
"""

import importlib
import inspect
from inspect import Parameter
from typing import get_type_hints

from genseg_betty.config.source import PACKAGE, Signature, read_fields
from genseg_betty.config.source_signatures import read_foreign_source, read_own_source

SEARCH_SPACE = f"{PACKAGE}.generators.search_space"


def read_signature(target: str, importing: bool = False) -> Signature:
    """What `target` (module.name of a function or class) takes.

    Args:
        importing: import what is not ours, even where its source tells.

    Raises ImportError, AttributeError or ValueError where there is nothing to call, and whatever a module of others
    raises when it is imported.
    """
    module, _, name = target.rpartition(".")
    if not module:
        raise ValueError("it names no module")
    found = None
    if is_ours(target):
        found = read_own_source(module, name)
    elif not importing:
        found = read_foreign_source(module, name)
    if found is None:
        found = import_and_inspect(module, name)
    return _spread_space(found)


def is_ours(target: str) -> bool:
    """Whether a target is code of this package."""
    return target.partition(".")[0] == PACKAGE


def import_and_inspect(module: str, name: str) -> Signature:
    """The signature as Python itself has it. Annotations that cannot be evaluated are left out."""
    found = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise ValueError(f"{name} is a {type(found).__name__}")
    function = found.__init__ if inspect.isclass(found) else found
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = {}  # the names of the arguments are still checked
    parameters = inspect.signature(found).parameters
    return list(parameters.values()), hints


def _spread_space(found: Signature) -> Signature:
    """The fields of `SearchSpace`, which are flat keys of a config, in place of a generator's argument `space`."""
    parameters, hints = found
    names = {parameter.name for parameter in parameters}
    if not {"space", "image_size"} <= names:
        return found
    spread = [parameter for parameter in parameters if parameter.name != "space"]
    kinds = {name: kind for name, kind in hints.items() if name != "space"}
    for name, kind in read_fields(SEARCH_SPACE, "SearchSpace").items():
        spread.append(Parameter(name, Parameter.KEYWORD_ONLY, default=None))
        kinds[name] = kind
    return spread, kinds
