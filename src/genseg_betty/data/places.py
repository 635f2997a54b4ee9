"""What a dataset's headers say of places in space: its images' orientations, and what the user should know of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from genseg_betty.data.formats import Header
from genseg_betty.data.formats.place import orientation_of
from genseg_betty.data.formats.turns import turn_to

MAX_NAMED = 3  # kinds, or files, in one note


@dataclass
class Places:
    """What the headers of a dataset say of places; gathered while they are read, once."""

    orientations: dict[str, str] = field(default_factory=dict)  # by case id, of the images whose place is stated
    turned: list[str] = field(default_factory=list)  # "LAS, not RAS" of each mask that is stored unlike its image
    doubts: list[str] = field(default_factory=list)  # "file: in which way its header contradicts itself"

    def add_image(self, case_id: str, header: Header) -> None:
        """Take note of the image of a case."""
        orientation = orientation_of(header)
        if orientation:
            self.orientations[case_id] = orientation

    def add_turned_mask(self, mask: Header, image: Header) -> None:
        """Take note of a mask that is stored in another orientation than its image."""
        found = orientation_of(mask)
        wanted = orientation_of(image)
        self.turned.append(f"{found}, not {wanted}")

    def notes(self) -> list[str]:
        """Sentences about masks that were turned and headers that contradict themselves."""
        notes = []
        if self.turned:
            kinds = _list_kinds(self.turned)
            notes.append(
                f"{len(self.turned)} masks are stored in another orientation than their images "
                f"({kinds}) and were turned"
            )
        if self.doubts:
            shown = "; ".join(sorted(self.doubts)[:MAX_NAMED])
            further = len(self.doubts) - MAX_NAMED
            if further > 0:
                shown += f", and {further} more"
            notes.append(f"{len(self.doubts)} files contradict themselves about their voxels: {shown}")
        return notes

    def usual(self, case_ids: Iterable[str]) -> str | None:
        """The most frequent orientation of these cases, of several the first; None where no place is stated."""
        found = Counter(self.orientations[id] for id in case_ids if id in self.orientations)
        return max(found, key=lambda orientation: found[orientation], default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, as the cache keeps them."""
        return {"orientations": self.orientations, "turned": self.turned, "doubts": self.doubts}


def note_of_turned(
    name: str, orientations: Sequence[str | None], wanted: str | None, whose: str = "the training data"
) -> list[str]:
    """Sentences about images that are stored in another orientation than is wanted, or in one that is not known.

    `whose` names what has the wanted orientation. Images of another plane cannot be turned to it. Nothing is said
    where none is wanted.
    """
    if wanted is None:
        return []
    unknown = orientations.count(None)
    unlike = [own for own in orientations if own and own != wanted]
    turnable = [own for own in unlike if turn_to(own, wanted) is not None]
    crossing = [own for own in unlike if turn_to(own, wanted) is None]

    # One sentence for each of the three, with what is done about it.
    every = f"of {len(orientations)} images of {name}"
    notes = []
    if turnable:
        kinds = _list_kinds(turnable)
        notes.append(
            f"{len(turnable)} {every} are stored in another orientation "
            f"({kinds}) than {whose} ({wanted}) and are turned to it"
        )
    if crossing:
        kinds = _list_kinds(crossing)
        notes.append(
            f"{len(crossing)} {every} lie in another plane ({kinds}) than "
            f"{whose} ({wanted}) and are taken as they are stored"
        )
    if unknown:
        notes.append(
            f"{unknown} {every} do not say how they lie in space and are taken to be stored as {whose} ({wanted})"
        )
    return notes


def _list_kinds(kinds: Sequence[str]) -> str:
    """The most frequent kinds, each once."""
    counts = Counter(kinds)
    by_frequency = sorted(counts, key=lambda kind: (-counts[kind], kind))
    shown = by_frequency[:MAX_NAMED]
    if len(by_frequency) > len(shown):
        shown.append("...")
    return "; ".join(shown)
