r"""Names that look like several images of one patient: `IMG_01_a` and `IMG_01_b`, `P3_left`, `case7_slice012`.

Nothing but a hint: it proposes a `group`, and groups nothing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

TOKEN = re.compile(r"\d+|[^\W\d_]+")
SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")  # what a regular expression takes for more than itself
DIGIT = re.compile(r"\d")
LETTER = r"[^\W\d_]"
MOST = 0.8  # share of the names that must be so
SIZES = range(2, 21)  # images of one patient
LEAST_GROUPS = 3
SHOWN = 2


@dataclass(frozen=True)
class _Shape:
    """What a name is made of: for each token whether it is a number, and the separator behind it."""

    numeric: tuple[bool, ...] = ()
    separators: tuple[str, ...] = ()

    @property
    def expressions(self) -> list[str]:
        """For each separator the regular expression that finds it."""
        return [SPECIAL.sub(r"\\\g<0>", separator) for separator in self.separators]


def propose_group(stems: Mapping[str, str]) -> str | None:
    """A sentence that proposes `dataset.group`; None where names do not look so. `stems` are by relative path.

    The part of a name that several share must hold a number, so img001 and img002 are no pair. Of several such parts
    the shortest counts: patients are larger than eyes.
    """
    shape, tokens = _find_usual_shape(list(stems.values()))
    for count in range(1, len(shape.numeric)):
        keys = _cut_names(stems, shape, count)
        if _looks_grouped(list(keys.values()), len(stems)):
            expression = _write_expression(tokens, shape, count)
            return _write_proposal(stems, keys, expression)
    return _propose_for_extended_names(stems)


def _propose_for_extended_names(stems: Mapping[str, str]) -> str | None:
    """The proposal where names stand there alone and with something behind them: IMG_01 and IMG_01_flip."""
    known = set(stems.values())
    keys = {}
    for path, stem in stems.items():
        keys[path] = _find_shortest_beginning(stem, known)
    if not _looks_grouped(list(keys.values()), len(stems)):
        return None
    beginnings = sorted(set(keys.values()))
    shape, tokens = _find_usual_shape(beginnings)
    expression = _join_pieces(tokens, shape.expressions)
    return _write_proposal(stems, keys, f"({expression})")


def _find_shortest_beginning(stem: str, known: Collection[str]) -> str:
    """The shortest known name that this one begins with, up to a separator; itself where there is none."""
    for match in TOKEN.finditer(stem):
        end = match.end()
        if end == len(stem) or stem[end].isalnum():
            continue
        beginning = stem[:end]
        if beginning in known:
            return beginning
    return stem


def _write_proposal(stems: Mapping[str, str], keys: Mapping[str, str], pattern: str) -> str | None:
    """The proposal, if its regular expression finds in every path what the names begin with."""
    for expression in (pattern, f"/{pattern}", f"^{pattern}"):
        if not _finds_keys(expression, stems, keys):
            continue
        shown = ", ".join(_list_largest_group(stems, keys))
        key = f"\"dataset.group='{expression}'\""
        return (
            f"names look like several images of one patient ({shown}): if so, set {key}, which keeps them in one part"
        )
    return None


def _finds_keys(expression: str, paths: Collection[str], keys: Mapping[str, str]) -> bool:
    """Whether it finds something in every path, and the key in those that have one."""
    for path in paths:
        match = re.search(expression, path)
        if match is None:
            return False
        found = match[1]
        if keys.get(path, found) != found:
            return False
    return True


def _list_largest_group(stems: Mapping[str, str], keys: Mapping[str, str]) -> list[str]:
    """The first few names of the largest group."""
    counts = Counter(keys.values())
    largest, _ = counts.most_common(1)[0]
    names = [stems[path] for path, key in keys.items() if key == largest]
    return sorted(names)[:SHOWN]


def _find_usual_shape(stems: Sequence[str]) -> tuple[_Shape, list[str]]:
    r"""What most names are made of, and an expression for each token.

    This is \d+ for a number, the word itself where all have it, else any letters.
    """
    shapes: dict[_Shape, list[list[str]]] = defaultdict(list)
    for stem in stems:
        shape = _read_shape(stem)
        shapes[shape].append(TOKEN.findall(stem))
    if not shapes:
        return _Shape(), []
    usual = max(shapes, key=lambda shape: len(shapes[shape]))
    expressions = []
    for column in zip(*shapes[usual], strict=True):
        expressions.append(_write_token(set(column)))
    return usual, expressions


def _write_token(found: set[str]) -> str:
    """The expression of a token that reads so in the names."""
    if all(token.isdecimal() for token in found):
        return r"\d+"
    if len(found) == 1:
        return found.pop()
    return f"{LETTER}+"


def _read_shape(stem: str) -> _Shape:
    matches = list(TOKEN.finditer(stem))
    starts = [match.start() for match in matches]
    ends = [match.end() for match in matches]
    separators = []
    for end, following in zip(ends, [*starts[1:], len(stem)], strict=False):
        separators.append(stem[end:following])
    numeric = [match[0].isdecimal() for match in matches]
    return _Shape(tuple(numeric), tuple(separators))


def _cut_names(stems: Mapping[str, str], shape: _Shape, count: int) -> dict[str, str]:
    """The first `count` tokens, with the separators between, of the names of that shape."""
    cut = {}
    for path, stem in stems.items():
        if _read_shape(stem) == shape:
            matches = list(TOKEN.finditer(stem))
            last = matches[count - 1]
            cut[path] = stem[: last.end()]
    return cut


def _looks_grouped(keys: Sequence[str], names: int) -> bool:
    """Whether so many names share their key with others that it looks like that of a patient."""
    groups = 0
    grouped = 0
    for key, size in Counter(keys).items():
        if size not in SIZES:
            continue
        if not DIGIT.search(key):
            return False
        groups += 1
        grouped += size
    return groups >= LEAST_GROUPS and grouped >= MOST * names


def _write_expression(tokens: Sequence[str], shape: _Shape, count: int) -> str:
    """The regular expression of the first `count` tokens, closed by what follows them."""
    separators = shape.expressions
    last = count - 1
    before = _join_pieces(tokens[:last], separators[:last])
    inside = f"{before}{tokens[last]}"
    following = separators[last]
    if not following:
        following = r"\d" if shape.numeric[count] else LETTER
    return f"({inside}){following}"


def _join_pieces(tokens: Sequence[str], separators: Sequence[str]) -> str:
    """The tokens, each with its separator behind it."""
    pieces = []
    for token, separator in zip(tokens, separators, strict=True):
        pieces += [token, separator]
    return "".join(pieces)
