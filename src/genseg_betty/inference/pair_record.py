"""What became of each draw, as a row of pairs.csv, and what a generation gives back."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.inference.pair_gate import AGREEMENT_REASON, COPY_REASON, PairQuality
from genseg_betty.run.tables import encode_table

TABLE = "pairs.csv"
SHEET = "sheet.png"


@dataclass(frozen=True)
class PairRecord:
    """One draw.

    Args:
        draw: its number, from 0, which all of it follows from together with the seed.
        file: the stem of its files; "" of a pair that was dropped.
        source: id of the training case whose mask was moved.
        move: how it was moved, as `MaskMove.describe` has it; empty where that is not known.
        quality: None without a gate.
        nearest: id of the nearest real training image; "" without a gate.
        reason: why it was dropped, copy or agreement; "" of one that was kept.
    """

    draw: int
    file: str
    source: str
    move: dict[str, str | float]
    quality: PairQuality | None = None
    nearest: str = ""
    reason: str = ""

    def make_row(self, run: str, seed: int) -> dict[str, Any]:
        """Its row in pairs.csv."""
        row: dict[str, Any] = {
            "file": self.file,
            "kept": "no" if self.reason else "yes",
            "reason": self.reason,
            "run": run,
            "seed": seed,
            "draw": self.draw,
            "source": self.source,
        }
        if self.quality is not None:
            row |= {
                "agreement": f"{self.quality.agreement:.6f}",
                "distance": f"{self.quality.distance:.4f}",
                "nearest": self.nearest,
                "nearest_moved": "yes" if self.quality.is_moved else "no",
            }
        return row | self.move


@dataclass(frozen=True)
class GeneratedPairs:
    """What `generate` wrote.

    Args:
        out: the folder of the pairs.
        table: pairs.csv there, a row a draw, the dropped ones among them.
        sheet: sheet.png there; None without a gate.
        asked: the number of pairs that was asked for.
        records: all draws in their order.
        judge: who measured the agreement, such as "the Run's own segmenter"; "" without a gate.
    """

    out: Path
    table: Path
    sheet: Path | None
    asked: int
    judge: str = ""
    records: list[PairRecord] = field(default_factory=list)

    @property
    def kept(self) -> list[PairRecord]:
        """The draws that became pairs."""
        return [record for record in self.records if not record.reason]

    @property
    def dropped(self) -> list[PairRecord]:
        """The draws that did not."""
        return [record for record in self.records if record.reason]

    @property
    def is_complete(self) -> bool:
        """Whether there are as many pairs as were asked for."""
        return len(self.kept) == self.asked

    def describe(self) -> list[str]:
        """Lines for the screen: the quality of the pairs, and what was dropped and why."""
        return describe_quality(self.kept, self.judge) + describe_dropped(self.records)


def encode_records(records: Sequence[PairRecord], run: str, seed: int) -> bytes:
    """The content of pairs.csv."""
    return encode_table([record.make_row(run, seed) for record in records])


def describe_quality(kept: Sequence[PairRecord], judge: str) -> list[str]:
    """Agreement and distance of the pairs that were kept; nothing where they were not measured."""
    measured = [(record, record.quality) for record in kept if record.quality is not None]
    if not measured:
        return []
    agreements = [quality.agreement for _, quality in measured]
    distances = [quality.distance for _, quality in measured]
    nearest, _ = min(measured, key=lambda one: one[1].distance)
    return [
        f"agreement of {judge} with the masks (Dice): mean {statistics.fmean(agreements):.3f}, "
        f"least {min(agreements):.3f}",
        f"distance to the nearest real image (0: the same): median {statistics.median(distances):.3f}, "
        f"least {min(distances):.3f} ({nearest.file}, to {nearest.nearest})",
    ]


def describe_dropped(records: Sequence[PairRecord]) -> list[str]:
    """A line that says how many draws were dropped and why; nothing where none was."""
    reasons = Counter(record.reason for record in records if record.reason)
    if not reasons:
        return []
    told = []
    if reasons[COPY_REASON]:
        copied = sorted({record.nearest for record in records if record.reason == COPY_REASON})
        told.append(f"{reasons[COPY_REASON]} as copies of a real image ({len(copied)} of them)")
    if reasons[AGREEMENT_REASON]:
        told.append(f"{reasons[AGREEMENT_REASON]} as the judge finds something else than the mask says")
    return [f"dropped {reasons.total()} of {len(records)} draws: {' and '.join(told)}"]
