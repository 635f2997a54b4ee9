"""Figures for a paper, as SVG and PDF: scores of methods, scores against labelled images, scores over a training.

Those of the page take their colours and fonts from it; these stand alone, so matplotlib draws them.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from genseg_betty.files import file_label
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.metric_rows import Points
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.sample_sizes import SizeCurve, find_size_curves
from genseg_betty.reporting.score_columns import ScoreColumn
from genseg_betty.reporting.wording import name_score
from genseg_betty.run.names import SCORES, VALIDATION_PHASE

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito, whom the colour-blind can tell apart."""
INK = "#222222"
STYLE = {
    "font.size": 8,
    "text.parse_math": False,  # a $ in a name is a $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # fonts that a publisher's checks accept
    "svg.hashsalt": "genseg",  # the same file from the same scores
}
PNG_DPI = 150
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
WIDTH, HEIGHT = 4.5, 2.8
"""Inches."""
LINE = 0.24
"""Inches of a method in a list of them."""

Axes = Any
"""matplotlib's, which is imported when a figure is drawn."""


def draw_comparison_figures(groups: Sequence[Group], columns: Sequence[ScoreColumn]) -> dict[str, bytes]:
    """File name -> content: a figure of each column of the table of scores, and of each with several sizes."""
    files: dict[str, bytes] = {}
    for column in columns:
        score = groups[0].first.metric
        label = file_label(column.title)
        scored = [group for group in groups if group.find_scores(column, score)]
        height = 0.7 + LINE * len(scored)
        draw_scores = partial(_draw_scores, groups=scored, column=column, score=score)
        files |= _draw_in_formats(f"scores-{label}", draw_scores, height)
        curves = find_size_curves(groups, column, score)
        if curves:
            draw_sizes = partial(_draw_sizes, curves=curves, title=f"{column.title}: {name_score(score)}")
            files |= _draw_in_formats(f"labelled-{label}", draw_sizes, HEIGHT)
    return files


def draw_training_figures(record: Record) -> dict[str, bytes]:
    """File name -> content: the validation scores of one Run over its steps; nothing where it has none."""
    curves = {score: record.metrics.find_points(VALIDATION_PHASE, score) for score in SCORES}
    found = {score: points for score, points in curves.items() if points}
    if not found:
        return {}
    return _draw_in_formats("validation", partial(_draw_validation, curves=found), HEIGHT)


def _draw_scores(axes: Axes, groups: Sequence[Group], column: ScoreColumn, score: str) -> None:
    """A line a method, the first one above: a dot for each seed, a bar for the mean."""
    for row, group in enumerate(groups):
        values = list(group.find_scores(column, score).values())
        axes.plot(values, [row] * len(values), "o", color=COLOURS[0], alpha=0.6, markersize=4, markeredgewidth=0)
        axes.plot([sum(values) / len(values)], [row], "|", color=INK, markersize=10, markeredgewidth=1.5)
    axes.set_yticks(range(len(groups)), [group.title for group in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel(f"{column.title}: {name_score(score)}")
    axes.grid(axis="y", linewidth=0.3)


def _draw_sizes(axes: Axes, curves: Sequence[SizeCurve], title: str) -> None:
    """A line a method through its means, a dot for each seed."""
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        style = "-" if number < len(COLOURS) else "--"
        axes.plot(list(curve.means), list(curve.means.values()), style, color=colour, linewidth=1.2, label=curve.name)
        for count, scores in curve.scores.items():
            axes.plot([count] * len(scores), scores, "o", color=colour, alpha=0.6, markersize=3, markeredgewidth=0)
    axes.set(xlabel="labelled images", ylabel=title)
    axes.legend(frameon=False)


def draw_lines(axes: Axes, curves: Mapping[str, Points], width: float) -> None:
    """A line a curve, named for the legend by its key."""
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
        steps = [step for step, _ in points]
        values = [value for _, value in points]
        axes.plot(steps, values, color=colour, linewidth=width, label=name)


def _draw_validation(axes: Axes, curves: Mapping[str, Points]) -> None:
    named = {name_score(score): points for score, points in curves.items()}
    draw_lines(axes, named, width=1.2)
    axes.set(xlabel="step", ylabel="validation score")
    axes.legend(frameon=False)


def _draw_in_formats(name: str, draw: Callable[[Axes], None], height: float) -> dict[str, bytes]:
    """File name -> content of a figure, in each format."""
    import matplotlib  # takes a second to import
    from matplotlib.figure import Figure

    files = {}
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        for kind in FORMATS:
            files[f"{name}.{kind}"] = encode_figure(figure, kind)
    return files


def encode_figure(figure: Any, kind: str) -> bytes:
    """The file of a figure of matplotlib, svg, pdf or png; without a date, so the same figure gives the same bytes."""
    encoded = io.BytesIO()
    figure.savefig(encoded, format=kind, metadata=FORMATS.get(kind), dpi=PNG_DPI)
    return encoded.getvalue()
