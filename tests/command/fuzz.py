"""Odd values for every key: what people mistype, what scripts produce, and what breaks programs."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NUMBERS = [
    "nan", "-nan", "inf", "-inf", "1e400", "-1e400", "-0.0", "0", "-1", "1", "1.0", "2.5", "1e300", "1e-320", "1e5",
    "9223372036854775807", "9223372036854775808", "4294967296", "2147483648", "1000000", "9" * 309, "9" * 400,
    "9" * 5000, "01", "1_000", "0x10", "3j", "true", "'3'", "int(3.7)", "str(nan)", "64",
]  # fmt: skip
TEXTS = [
    "", "null", "None", "yes", "auto", "a", "a b", "é" * 300, "x" * 5000, "a\0b", "a\nb", "\x1b[31m", "\udcff\udcfe",
    "💥", "'", '"', "'a", "a'b", "[", "{", "(", "(a+)+$", "(?P<x>a)(?P<x>b)", "%s%n", "$(rm)", "`x`", "2024-01-01",
    "\u202e",
]  # fmt: skip
PLACES = [
    "/", "//", ".", "..", "../..", "~", "~nobody-of-this-name/x", "/dev/null", "a/../../b", "*", "**", "**x", "/abs/*",
    "{dir}/../../{stem}", "{stem", "a\\b",
]  # fmt: skip
LISTS = [
    "[]", "[[]]", "[1]", "[0,inf]", "[nan,1]", "[1,0]", "[0,1e-320]", "[1,2,3]", "[1,2,3,4]", "[4096,4096,4096]", "[a]",
    "[null]", "[true]", "['']", "['../x']", "[1,a]", "[64,64]", "[{a: b}]", "[{name: nlm_mc, n_test: 5.0}]", "[{}]",
    "[{name: null}]", "[???]", "[" * 1000 + "]" * 1000, "[[" * 10 + "]]" * 10, "[" + "1," * 5000 + "1]",
]  # fmt: skip
MAPPINGS = [
    "{}", "{a: b}", "{a: 1}", "{1: 2}", "{null: 1}", "{true: 1}", "{a: {b: {c: 1}}}", "{_target_: os.system}",
    "{name: sgd}", "{name: adam, lr: inf}", "{name: [1]}", "{reader: files}", "{reader: {}}", "{reader: phantom}",
    "{test: 3}", "{test: ['/abs'], optional: 3}", "{file: ''}", "{a:" * 300 + "1" + "}" * 300,
]  # fmt: skip
INTERPOLATIONS = [
    "${seed}", "${}", "${nope}", "${oc.env:NOPE}", "${oc.env:PATH}", "${nores:1}", "${name}", "${dataset}", "${.x}",
    "${trainer.optimizers}", "\\${x}", "'${'", "???", "${oc.select:name}",
]  # fmt: skip
CALLS = ["1,2", "range(3)", "range(0,1e400)", "glob(*)", "choice()", "interval(0,1)", "sort(3,1)", "shuffle(1,2)"]
MODULES = ["builtins.exit", "os.system", "..x", ".x", "x.", "a..b", "sys", "builtins.int", "builtins.dict", "no.thing"]
VALUES = NUMBERS + TEXTS + PLACES + LISTS + MAPPINGS + INTERPOLATIONS + CALLS + MODULES
FORMS = ["{key}={value}"] * 14 + ["+{key}={value}", "++{key}={value}", "~{key}", "~{key}={value}", "{key}.x={value}"]
FORMS += ["{key}.0={value}", "{key}={{name: {value}}}", "{key}={{a: {value}}}", "{key}=[{value}]"]


def keys_of(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Dotted names of every section and value."""
    for key, value in tree.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{above}{key}.")


def draw_line(source: random.Random, keys: Sequence[str], values: Sequence[str] = VALUES) -> tuple[str, str]:
    """A key, and an override of it by something odd."""
    key = source.choice(keys)
    return key, source.choice(FORMS).format(key=key, value=source.choice(values))
