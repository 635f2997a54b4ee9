"""Which draws become pairs: those that the gate lets pass, until there are as many as were asked for."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from genseg_betty.errors import UserError
from genseg_betty.inference.pair_draws import DrawnPair, PairDraws
from genseg_betty.inference.pair_files import Pairs
from genseg_betty.inference.pair_gate import PairGate
from genseg_betty.inference.pair_record import PairRecord, describe_dropped

MOST_IN_A_ROW = 100
"""Draws that may be dropped one after the other before the search for better ones ends."""


@dataclass
class PairSelection:
    """Draws pairs until there are as many as were asked for, and keeps a record of every draw."""

    draws: PairDraws
    ids: Sequence[str]
    count: int
    stems: Callable[[int], str]
    gate: PairGate | None = None
    records: list[PairRecord] = field(default_factory=list)

    def draw_some(self) -> Pairs:
        """The pairs that are kept. Raises UserError, before any is handed on, where none is."""
        kept = self._draw_kept()
        first = next(kept, None)
        if first is None:
            raise UserError(self._explain_none())
        return itertools.chain([first], kept)

    def _draw_kept(self) -> Iterator[tuple[Tensor, np.ndarray]]:
        numbers = itertools.count()
        for index in track(range(self.count), description="generate", console=Console(stderr=True)):
            for number in itertools.islice(numbers, MOST_IN_A_ROW):
                drawn = self.draws.draw_pair(number)
                if self._record_draw(drawn, self.stems(index)):
                    yield drawn.pair
                    break
            else:
                return

    def _record_draw(self, drawn: DrawnPair, file: str) -> bool:
        """Note a draw; returns whether it is kept."""
        move = {} if drawn.move is None else drawn.move.describe()
        if drawn.cut is not None:
            move["patch"] = " ".join(map(str, drawn.cut.start))
        source = self.ids[drawn.source]
        if self.gate is None:
            self.records.append(PairRecord(drawn.number, file, source, move))
            return True
        quality = self.gate.measure_pair(drawn, self.draws)
        reason = self.gate.find_reason(quality)
        nearest = self.ids[quality.nearest]
        record = PairRecord(drawn.number, "" if reason else file, source, move, quality, nearest, reason)
        self.records.append(record)
        return not reason

    def _explain_none(self) -> str:
        assert self.gate is not None  # without one every draw is kept
        qualities = [record.quality for record in self.records if record.quality is not None]
        agreement = max(quality.agreement for quality in qualities)
        distance = max(quality.distance for quality in qualities)
        dropped = describe_dropped(self.records)
        return (
            f"No pair was written; {dropped[0]}. The largest agreement was {agreement:.3f} (min_agreement "
            f"{self.gate.min_agreement:g}), the largest distance {distance:.3f} (min_distance "
            f"{self.gate.min_distance:g}). Lower these, or train the generator longer or on more images"
        )
