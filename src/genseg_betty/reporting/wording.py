"""Numbers as a person reads them; a dash for one that is missing."""

from genseg_betty.reporting.values import NONE
from genseg_betty.run.names import ASSD, HD95, SURFACE_DICE

NAMES_OF_SCORES = {HD95: "HD95", ASSD: "ASSD", SURFACE_DICE: "Surface Dice"}
"""As they are typeset; the others begin with a capital."""


def name_score(score: str) -> str:
    """A score as a page calls it: Dice, HD95."""
    return NAMES_OF_SCORES.get(score, score.title())


def format_score(value: float | None) -> str:
    """Three decimals."""
    return NONE if value is None else f"{value:.3f}"


def format_duration(seconds: float | None) -> str:
    """Seconds as a person says them: 0.25 s, 42 s, 5 min 12 s, 3 h 5 min."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def format_bytes(count: float | None) -> str:
    """Bytes in MiB or GiB."""
    if count is None:
        return NONE
    if count < 2**30:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**30:.2f} GiB"
