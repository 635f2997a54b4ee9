"""What a dataset's headers say of places in space: its images' orientations, and what the user should know of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from genseg_betty.data.formats import Header
from genseg_betty.data.formats.place import orientation_of, turn_to

MAX_NAMED = 3  # kinds, or files, in one note


@dataclass
class Places:
    """Gathered while the headers of a dataset are read, which happens once."""

    orientations: dict[str, str] = field(default_factory=dict)  # by case id, of the images whose place is stated
    turned: list[str] = field(default_factory=list)  # "LAS, not RAS" of each mask that is stored unlike its image
    doubts: list[str] = field(default_factory=list)  # "file: in which way its header contradicts itself"

    def add_image(self, case_id: str, header: Header) -> None:
        """Take note of the image of a case."""
        if orientation := orientation_of(header):
            self.orientations[case_id] = orientation

    def add_turned_mask(self, mask: Header, image: Header) -> None:
        """Take note of a mask that is stored in another orientation than its image."""
        self.turned.append(f"{orientation_of(mask)}, not {orientation_of(image)}")

    def notes(self) -> list[str]:
        """Sentences about masks that were turned and headers that contradict themselves."""
        notes = []
        if self.turned:
            notes.append(
                f"{len(self.turned)} masks are stored in another orientation than their images "
                f"({_named(self.turned)}) and were turned"
            )
        if self.doubts:
            more = f", and {len(self.doubts) - MAX_NAMED} more" if len(self.doubts) > MAX_NAMED else ""
            shown = "; ".join(sorted(self.doubts)[:MAX_NAMED])
            notes.append(f"{len(self.doubts)} files contradict themselves about their voxels: {shown}{more}")
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
    """A sentence if some of these images are stored in another orientation than is wanted, and can be turned to it."""
    others = [own for own in orientations if own and turn_to(own, wanted) is not None]
    if not others:
        return []
    return [
        f"{len(others)} of {len(orientations)} images of {name} are stored in another orientation ({_named(others)}) "
        f"than {whose} ({wanted}) and are turned to it"
    ]


def _named(kinds: Sequence[str]) -> str:
    counts = Counter(kinds)
    usual = sorted(counts, key=lambda kind: (-counts[kind], kind))
    return "; ".join(usual[:MAX_NAMED]) + ("; ..." if len(usual) > MAX_NAMED else "")
