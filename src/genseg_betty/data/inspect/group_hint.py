r"""Names that look like several images of one patient: `IMG_01_a` and `IMG_01_b`, `P3_left`, `case7_slice012`.

Nothing but a hint: it proposes a `group`, and groups nothing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

TOKEN = re.compile(r"\d+|[^\W\d_]+")
SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")  # what a regular expression takes for more than itself
MOST = 0.8  # share of the names that must be so
SIZES = range(2, 21)  # images of one patient
LEAST_GROUPS = 3


def group_hint(stems: Mapping[str, str]) -> str | None:
    """A sentence that proposes `dataset.group`; None where names do not look so. `stems` are by relative path.

    The part of a name that several share must hold a number, so img001 and img002 are no pair. Of several such parts
    the shortest counts: patients are larger than eyes.
    """
    shape, tokens = _usual_shape(list(stems.values()))
    ends_of_tokens = _ends(stems, shape)
    for count in range(1, len(shape)):
        last_ends = {path: ends[count - 1] for path, ends in ends_of_tokens.items()}
        keys = {path: stems[path][:end] for path, end in last_ends.items()}
        if _looks_grouped(list(keys.values()), len(stems)):
            return _sentence(stems, keys, _expression(tokens, shape, count))
    return _hint_of_extended_names(stems)


def _hint_of_extended_names(stems: Mapping[str, str]) -> str | None:
    """The proposal where names stand there alone and with something behind them: IMG_01 and IMG_01_flip."""
    known = set(stems.values())
    keys = {path: _shortest_beginning(stem, known) for path, stem in stems.items()}
    if not _looks_grouped(list(keys.values()), len(stems)):
        return None
    shape, tokens = _usual_shape(sorted(set(keys.values())))
    separators = [SPECIAL.sub(r"\\\g<0>", part[1:]) for part in shape]
    pieces = [f"{token}{separator}" for token, separator in zip(tokens, separators, strict=True)]
    return _sentence(stems, keys, f"({''.join(pieces)})")


def _shortest_beginning(stem: str, known: Collection[str]) -> str:
    """The shortest known name that this one begins with, up to a separator; itself where there is none."""
    ends = [match.end() for match in TOKEN.finditer(stem)]
    followed = [end for end in ends if end < len(stem) and not stem[end].isalnum()]
    return next((stem[:end] for end in followed if stem[:end] in known), stem)


def _sentence(stems: Mapping[str, str], keys: Mapping[str, str], pattern: str) -> str | None:
    """The proposal, if its regular expression finds in every path what the names begin with."""
    for expression in (pattern, f"/{pattern}", f"^{pattern}"):
        found = {path: re.search(expression, path) for path in stems}
        if all(match and match[1] == keys.get(path, match[1]) for path, match in found.items()):
            largest = Counter(keys.values()).most_common(1)[0][0]
            shown = sorted(stems[path] for path, key in keys.items() if key == largest)[:2]
            return (
                f"names look like several images of one patient ({', '.join(shown)}): if so, set "
                f"\"dataset.group='{expression}'\", which keeps them in one part"
            )
    return None


def _usual_shape(stems: Sequence[str]) -> tuple[list[str], list[str]]:
    r"""What most names are made of: \d for a number, the separators, and a word where all have it, else letters."""
    shapes: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for stem in stems:
        shapes[_shape(stem)].append(TOKEN.findall(stem))
    if not shapes:
        return [], []
    shape, alike = max(shapes.items(), key=lambda item: len(item[1]))
    columns = [set(column) for column in zip(*alike, strict=True)]
    tokens = [_token_expression(column) for column in columns]
    return list(shape), tokens


def _token_expression(found: set[str]) -> str:
    if all(token.isdecimal() for token in found):
        return r"\d+"
    return next(iter(found)) if len(found) == 1 else r"[^\W\d_]+"


def _shape(stem: str) -> tuple[str, ...]:
    """For each token its kind and the separator behind it."""
    found = list(TOKEN.finditer(stem))
    kinds = ["9" if match[0].isdecimal() else "a" for match in found]
    nexts = [match.start() for match in found[1:]] + [len(stem)]
    separators = [stem[match.end() : following] for match, following in zip(found, nexts, strict=False)]
    return tuple(kind + separator for kind, separator in zip(kinds, separators, strict=True))


def _ends(stems: Mapping[str, str], shape: Sequence[str]) -> dict[str, list[int]]:
    """Where each token ends, of the names of that shape."""
    return {
        path: [match.end() for match in TOKEN.finditer(stem)]
        for path, stem in stems.items()
        if _shape(stem) == tuple(shape)
    }


def _looks_grouped(keys: Sequence[str], names: int) -> bool:
    sizes = Counter(keys)
    shared = {key: size for key, size in sizes.items() if size in SIZES}
    numbered = all(re.search(r"\d", key) for key in shared)
    return numbered and len(shared) >= LEAST_GROUPS and sum(shared.values()) >= MOST * names


def _expression(tokens: Sequence[str], shape: Sequence[str], count: int) -> str:
    """The regular expression of the first `count` tokens, closed by what follows them."""
    separators = [SPECIAL.sub(r"\\\g<0>", part[1:]) for part in shape]
    parts = zip(tokens[:count], separators, strict=False)
    body = "".join(f"{token}{separator}" for token, separator in parts)
    last = separators[count - 1]
    inside = body.removesuffix(last) if last else body
    following = last or (r"\d" if shape[count].startswith("9") else r"[^\W\d_]")
    return f"({inside}){following}"
