"""The fingerprint of a dataset as the lines that a training shows before its first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from genseg_betty.config.origins import SET
from genseg_betty.data.inspect.fingerprint import Fingerprint, Settings

SMALL_FOREGROUND = 0.02  # share of an image below which cross-entropy alone is content with background everywhere


def describe_fingerprint(found: Fingerprint, used: Settings, origins: Mapping[str, str] = MappingProxyType({})) -> str:
    """The fingerprint in five to seven lines; behind an arrow what is used, and what would suit if that is another.

    `origins` says what set a key of the config: `set` (the user), or the name of a preset. What nothing has set follows
    from other settings, and nothing is said to suit better.
    """
    lines = _Lines(found, used, found.defaults, origins)
    told = [lines.describe_cases(), lines.describe_size()]
    if found.spacing:
        told.append(lines.describe_spacing())
    told += [
        lines.describe_colour(),
        lines.describe_intensities(),
        lines.describe_foreground(),
    ]
    if len(found.classes) > 2:
        told.append(lines.describe_classes())
    return "\n".join(told)


@dataclass(frozen=True)
class _Lines:
    """The lines of a description, one a method.

    Attributes:
        used: the settings in force.
        suits: the settings that would suit the fingerprint.
        origins: what set a key of the config.
    """

    found: Fingerprint
    used: Settings
    suits: Settings
    origins: Mapping[str, str]

    def describe_cases(self) -> str:
        found = self.found
        shared = ""
        if found.groups != found.cases:
            shared = f" of {found.groups} groups"
        return f"{found.cases} labelled cases{shared} (train and validation; the test part is not looked at)"

    def describe_size(self) -> str:
        found = self.found
        size = self._compare(
            _join_sides(self.used.image_size),
            _join_sides(self.suits.image_size),
            "image_size",
        )
        batch = self._compare(
            self.used.batch_size,
            self.suits.batch_size,
            "trainer.batch_size",
        )
        span = "all of them"
        if found.smallest != found.largest:
            span = f"median; {_join_sides(found.smallest)} to {_join_sides(found.largest)}"
        median = _join_sides(found.median)
        return f"size: {median} px ({span}) → image_size {size}, batch {batch}"

    def describe_spacing(self) -> str:
        """Images are not resampled, so of them nothing is said to be used."""
        found = _join_steps(self.found.spacing)
        line = f"spacing: {found} mm (median)"
        if len(self.found.median) != 3:
            return line
        spacing = self._compare(
            _join_steps(self.used.spacing),
            _join_steps(self.suits.spacing),
            "dataset.spacing",
        )
        return f"{line} → {spacing}"

    def describe_colour(self) -> str:
        colour = "gray" if self.found.channels == 1 else "RGB"
        channels = self._compare(
            self.used.channels,
            self.suits.channels,
            "dataset.channels",
        )
        return f"colour: {colour} → channels {channels}"

    def describe_intensities(self) -> str:
        low, *_, high = self.found.intensities
        normalisation = self._compare(
            self.used.normalisation,
            self.suits.normalisation,
            "dataset.intensity",
        )
        return f"intensities: {low:g} to {high:g} → {normalisation}"

    def describe_foreground(self) -> str:
        loss = self._compare(
            self.used.loss,
            self.suits.loss,
            "trainer.loss",
        )
        least, middle, greatest = self.found.foreground
        span = f"{_show_percent(least)} to {_show_percent(greatest)}"
        reason = ""
        if middle < SMALL_FOREGROUND:
            reason = " (so little foreground needs the Dice term)"
        return f"foreground: {_show_percent(middle)} of a case (median; {span}) → loss {loss}{reason}"

    def describe_classes(self) -> str:
        shares = []
        for name, share in self.found.classes.items():
            shares.append(f"{name} {_show_percent(share)}")
        return f"classes: {', '.join(shares)}"

    def _compare(self, used: object, suits: object, key: str) -> str:
        """What is used; where a key of the config made it another than what would suit, that as well."""
        origin = self.origins.get(key)
        if used == suits or origin is None:
            return str(used)
        reason = "as set"
        if origin != SET:
            reason = f"as {origin} has it"
        return f"{used} ({reason}; {suits} would suit)"


def _join_sides(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides))


def _join_steps(spacing: Sequence[float] | None) -> str:
    if not spacing:
        return "as it is"
    return " × ".join(f"{step:.3g}" for step in spacing)


def _show_percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.3g} %"
