"""How one override is read: `dataset=isic`, `trainer.iterations=500`, `seed=0,1,2`.

The grammar is Hydra's, parsed by Hydra, with one addition: a plain value that it has no room for (`~/scans`,
`/data/set (1)`) is taken as it stands.
"""

import re
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from genseg_betty.config.plain import require_shallow
from genseg_betty.config.wording import show

STRUCTURAL = ("[", "{", "'", '"')
KEY = re.compile(r"(\+{0,2}|~)[^\W\d]\w*([./]\w+)*")
LONGEST_KEY = 200
LONGEST_VALUE = 100_000


def parse_lines(lines: Iterable[str], problems: list[str]) -> list[Override]:
    """Every line parsed; those that cannot be are problems."""
    overrides = []
    for line in lines:
        try:
            overrides.append(_parse_line(line))
        except ValueError as error:
            problems.append(f"{show(line)}: {error}")
    return overrides


def quote_text(text: str) -> str:
    """The text in quotes, as Hydra's grammar reads it back: backslashes count only before a quote or at the end."""
    escaped = re.sub(r"(\\*)('|$)", _escape_quote, text)
    return f"'{escaped}'"


def _escape_quote(found: re.Match[str]) -> str:
    """Backslashes doubled, and the quote after them, if it is one and not the text's end, escaped."""
    backslashes, quote = found.groups()
    escaped = f"\\{quote}" if quote else ""
    return 2 * backslashes + escaped


def _parse_line(line: str) -> Override:
    """One override. Raises ValueError, which says without the line why it cannot be used."""
    key, equals, value = line.partition("=")
    if len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
        raise ValueError(f"too long; a key has at most {LONGEST_KEY} characters, a value {LONGEST_VALUE}")
    # A value that Hydra's grammar does not take is tried once more as a text in quotes.
    attempts = [line]
    if equals and not value.startswith(STRUCTURAL):
        quoted = quote_text(value)
        attempts.append(f"{key}={quoted}")
    for attempt in attempts:
        override = _try_grammar(attempt)
        if override is not None:
            if override.package is None and override.key_or_group:
                return override
            break
    advice = _advise_on_line(key, equals, value)
    raise ValueError(f"cannot be read; {advice}")


def _try_grammar(line: str) -> Override | None:
    """The override as Hydra reads it; None where it cannot. Raises ValueError for a value that no config can hold."""
    try:
        override = OverridesParser.create().parse_override(line)
        require_shallow(override.value())
    except HydraException:
        return None
    except RecursionError as error:
        raise ValueError("cannot be used; it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"cannot be used; {error}") from error
    return override


def _advise_on_line(key: str, equals: str, value: str) -> str:
    if not equals:
        return "expected key=value"
    if KEY.fullmatch(key) and value.startswith(STRUCTURAL):
        return "close every bracket and quote, and end no list with a comma; text is quoted: key='…'"
    if KEY.fullmatch(key):
        return "quote the value: key='…'"
    stripped = key.strip()
    if KEY.fullmatch(stripped):
        return f"leave out the spaces: {show(stripped)}={show(value.strip())}"
    return "expected key=value, the key made of letters, digits, _ and dots"
