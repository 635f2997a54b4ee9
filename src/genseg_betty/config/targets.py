"""The arguments that a component's `_target_` takes from a config."""

from collections.abc import Iterable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from genseg_betty.config.components import ComponentConfig
from genseg_betty.config.signatures import read_signature
from genseg_betty.config.wording import show

EXPECTED_ERRORS = (ImportError, AttributeError, ValueError)
BY_NAME = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class UnusableTarget(ValueError):
    """A `_target_` that no component can be built by; the message says why, without the key."""


@dataclass
class Argument:
    """An argument of a target: its type, and whether it has to be given."""

    kind: Any
    required: bool


@dataclass
class Target:
    """The arguments that a config may give, and whether the target takes arguments of any other name as well."""

    arguments: dict[str, Argument]
    takes_all: bool


def read_target(target: str, schema: type[ComponentConfig], importing: bool) -> Target:
    """What the target takes besides what the program supplies.

    Args:
        importing: import code that is not ours, in place of reading its source.

    Raises UnusableTarget where nothing can be called, or where it does not take what the program supplies.
    """
    try:
        parameters, hints = read_signature(target, importing)
    except (Exception, SystemExit) as error:  # importing a user's file can raise whatever that file raises
        raise UnusableTarget(_tell_error(error)) from error
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    named = {parameter.name: parameter for parameter in parameters if parameter.kind in BY_NAME}
    if not takes_all:
        _require_supplied(schema.supplied, named)
    arguments = {}
    for name, parameter in named.items():
        if name not in schema.supplied and name not in schema.offered:
            required = parameter.default is Parameter.empty
            arguments[name] = Argument(hints.get(name, Any), required)
    return Target(arguments, takes_all)


def _require_supplied(supplied: Iterable[str], named: dict[str, Parameter]) -> None:
    lacking = [name for name in supplied if name not in named]
    if lacking:
        names = ", ".join(lacking)
        raise UnusableTarget(f"must take the arguments {names} as well")


def _tell_error(error: BaseException) -> str:
    reason = show(str(error))
    if not isinstance(error, EXPECTED_ERRORS):
        reason = f"{type(error).__name__}: {reason}"
    return (
        f"cannot be used ({reason}); expected module.name of a function or class that Python finds (an installed "
        "package, or a folder in PYTHONPATH)"
    )
