"""Values against type annotations: does a value fit, and what is it then? `wording.py` says what would fit.

Every number must be finite, every integer fit into 64 bits, and every text be plain, whatever the annotation says.
The marks of an `Annotated` kind narrow it, see `marks.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from genseg_betty.config.marks import Scalar
from genseg_betty.config.plain import require_finite, require_plain, require_plain_text
from genseg_betty.config.wording import show


def convert_value(value: Any, kind: Any) -> Any:
    """`value` as `kind`, or ValueError, which says more where `kind` in words does not say enough.

    Whole floats become integers, and numbers text, where that is wanted. Annotations that say nothing about YAML
    values (a Callable, a class) let every plain value pass, see `require_plain`.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is not None:
        return _convert_generic(value, origin, arguments)
    if kind in _SCALARS:
        convert_scalar = _SCALARS[kind]
        return convert_scalar(value)
    require_plain(value)
    return value


def _convert_generic(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if origin is Annotated:
        return _convert_marked(value, *arguments)
    if origin in (Union, UnionType):
        return _convert_union(value, arguments)
    if origin is Literal:
        return _convert_choice(value, arguments)
    if origin is tuple and Ellipsis not in arguments:
        return _convert_tuple(value, arguments)
    if origin in (list, tuple, Sequence):
        return _convert_list(value, arguments[0])
    if origin in (dict, Mapping):
        return _convert_mapping(value, *arguments)
    require_plain(value)
    return value


def _convert_marked(value: Any, kind: Any, *marks: Any) -> Any:
    result = convert_value(value, kind)
    for mark in marks:
        mark.require_fit(result)
    return result


def _convert_union(value: Any, arms: tuple[Any, ...]) -> Any:
    """As the first arm that fits; the reason is that of the last arm that gives one."""
    if value is None and NoneType in arms:
        return None
    reason = ""
    for arm in arms:
        try:
            return convert_value(value, arm)
        except ValueError as error:
            reason = str(error) or reason
    raise ValueError(reason)


def _convert_choice(value: Any, choices: tuple[Any, ...]) -> Any:
    """A value that is one of the choices; true is not 1."""
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return value
    raise ValueError


def _convert_tuple(value: Any, kinds: tuple[Any, ...]) -> list[Any]:
    """A list of fixed length, each item of its own kind."""
    items = _require_list(value)
    if len(items) != len(kinds):
        raise ValueError
    return [convert_value(item, kind) for item, kind in zip(items, kinds, strict=True)]


def _convert_list(value: Any, kind: Any) -> list[Any]:
    items = _require_list(value)
    return [convert_value(item, kind) for item in items]


def _convert_mapping(value: Any, key_kind: Any, item_kind: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError
    converted = {}
    for key, item in value.items():
        converted_key = convert_value(key, key_kind)
        converted[converted_key] = _convert_item(key, item, item_kind)
    return converted


def _convert_item(key: Any, item: Any, kind: Any) -> Any:
    """As `convert_value`; the reason names the key."""
    try:
        return convert_value(item, kind)
    except ValueError as error:
        reason = f"{show(key)}: {error}" if str(error) else ""
        raise ValueError(reason) from None


def _require_list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_number(value: Any) -> Scalar:
    if not _is_number(value):
        raise ValueError
    require_finite(value)
    return value


def _to_int(value: Any) -> int:
    number = _require_number(value)
    if isinstance(number, float) and not number.is_integer():
        raise ValueError
    whole = int(number)
    require_finite(whole)
    return whole


def _to_float(value: Any) -> float:
    number = float(_require_number(value))
    return number + 0.0  # -0.0 becomes 0.0


def _to_str(value: Any) -> str:
    if not isinstance(value, str) and not _is_number(value):
        raise ValueError
    if isinstance(value, float):
        require_finite(value)
    text = str(value)  # Python refuses to write very long integers
    require_plain_text(text)
    return text


def _require_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _require_none(value: Any) -> None:
    if value is not None:
        raise ValueError


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    int: _to_int,
    float: _to_float,
    str: _to_str,
    bool: _require_bool,
    NoneType: _require_none,
    None: _require_none,
}
