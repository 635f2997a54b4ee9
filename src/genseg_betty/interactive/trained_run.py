"""A Run as `gs.train` returns it: what came out of the training, for a program and a notebook."""

from functools import partial
from pathlib import Path
from typing import Any

from genseg_betty.errors import UserError
from genseg_betty.interactive.drawing import Drawing
from genseg_betty.interactive.history import History
from genseg_betty.reporting.curve_figure import draw_training_curves, has_curves
from genseg_betty.reporting.elements import build_element, build_heading, build_note, build_table
from genseg_betty.reporting.lead import build_lead
from genseg_betty.reporting.reading import read_record
from genseg_betty.reporting.record import Record, find_test_scores
from genseg_betty.reporting.wording import format_score, name_score
from genseg_betty.run import Run
from genseg_betty.run.names import SCORES

FIGURES = ("curves",)


class TrainedRun(Run):
    """A Run to read: `path`, `results`, `history`, `figure("curves")`; a notebook shows its scores.

    Example:
        run = gs.train(dataset="folder", root="scans", backbone="unet")
        run.results["test"]
        run.history["validation/dice"]
        run.figure("curves").save("curves.pdf")
    """

    @property
    def results(self) -> dict[str, Any]:
        """What results.json says (docs/scores.md); {} before the training has ended. Raises UserError if damaged."""
        return self.read_results()

    @property
    def history(self) -> History:
        """What metrics.csv says: every value that was logged. Raises UserError if it is damaged."""
        return History(self.metrics())

    @property
    def report(self) -> Path:
        """The Run's own page."""
        return self.path / "report.html"

    def figure(self, name: str = "curves") -> Drawing:
        """A figure: `curves`, the validation scores and the loss of each level over the steps. Raises UserError."""
        if name not in FIGURES:
            raise UserError(f"there is no figure {name!r} of a Run; expected one of {', '.join(FIGURES)}")
        record = read_record(self.path)
        if not has_curves(record):
            raise UserError(f"{self.path} has logged nothing yet, so there is nothing to draw: train it first")
        return Drawing(partial(draw_training_curves, record))

    def __repr__(self) -> str:
        return f"<Run {self.path}: {read_record(self.path).state}>"

    def _repr_html_(self) -> str:
        """For a notebook: what was trained on what, its test scores, and where its page lies."""
        record = read_record(self.path)
        shown = build_heading(record.name, "h3") + build_lead(record)
        shown += _list_scores(record) if find_test_scores(record) else build_note(f"{record.state}: no test scores")
        if self.report.is_file():
            shown += build_note(f"report: {self.report}")
        return build_element("div", shown)


def _list_scores(record: Record) -> str:
    """A row for each test set."""
    rows = []
    for test_set, scores in find_test_scores(record).items():
        means = [format_score(scores.get(score)) for score in SCORES]
        rows.append((test_set, scores.get("cases"), *means))
    titles = [name_score(score) for score in SCORES]
    return build_table(("test set", "cases", *titles), rows)
