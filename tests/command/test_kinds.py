from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import pytest

from genseg_betty.config.kinds import convert_value
from genseg_betty.config.marks import Range
from genseg_betty.config.wording import describe_kind

FITTING = [
    (3, int, 3),
    (3.0, int, 3),
    (3, float, 3.0),
    ("a", str, "a"),
    (2018, str, "2018"),
    (True, bool, True),
    (None, int | None, None),
    (5, int | list[int], 5),
    ([5, 6], int | tuple[int, int], [5, 6]),
    ("both", Literal["both", "decoder"], "both"),
    ([1.0, 2], list[int], [1, 2]),
    ((0, 1), Sequence[int], [0, 1]),
    ({"background": 0.0}, dict[str, int], {"background": 0}),
    (0.5, Annotated[float, Range(least=0, below=1)], 0.5),
    ("anything", Callable[[int], int], "anything"),
    ({"a": 1}, Any, {"a": 1}),
]


@pytest.mark.parametrize(("value", "kind", "expected"), FITTING)
def test_fitting_values_are_converted(value: Any, kind: Any, expected: Any) -> None:
    result = convert_value(value, kind)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3.5, int),
        ("3", int),
        (True, int),
        (True, float),
        (True, str),
        (1, bool),
        (None, int),
        (None, str),
        ("none", None),
        ([1], str),
        ([1, 2, 3], tuple[int, int]),
        (1, Literal[True]),
        (True, Literal[1]),
        ("x", int | None),
        ({"a": "b"}, dict[str, int]),
        ("ab", list[str]),
        (-1, Annotated[int, Range(least=0)]),
        (1.0, Annotated[float, Range(below=1)]),
        (0.0, Annotated[float, Range(above=0)]),
        (9, Annotated[int, Range(least=0, most=8)]),
        (float("nan"), Annotated[float, Range(least=0)]),
    ],
)
def test_misfits_raise(value: Any, kind: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (callers add the message)
        convert_value(value, kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[int, Range(least=1)] | None, "an integer at least 1 or null"),
        (Annotated[float, Range(least=0, most=180)], "a number from 0 to 180"),
        (Literal["a", "b", "c"], "a, b or c"),
        (list[Literal[0, 1]], "[0 or 1, …]"),
        (tuple[int, int], "[2 integers]"),
        (tuple[int, float], "[an integer, a number]"),
        (Literal["a", "b"] | list[int] | bool | None, "a, b, [an integer, …], true, false or null"),
        (dict[str, int], "{name: an integer, …}"),
        (bool, "true or false"),
    ],
)
def test_kinds_in_words(kind: Any, words: str) -> None:
    assert describe_kind(kind) == words
