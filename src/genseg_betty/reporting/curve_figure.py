"""The curves of a training as one figure of its own: the validation scores, and the loss of each level."""

import math

from genseg_betty.reporting.curves import LOSS_TITLES
from genseg_betty.reporting.metric_rows import Points
from genseg_betty.reporting.paper_figures import STYLE, Axes, draw_lines, encode_figure
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.wording import name_score
from genseg_betty.run.names import SCORES, VALIDATION_PHASE

COLUMNS = 2
"""Panels side by side."""
WIDTH, HEIGHT = 3.5, 2.4
"""Inches of a panel."""


def has_curves(record: Record) -> bool:
    """Whether the Run has logged anything that can be drawn."""
    return bool(_find_panels(record))


def draw_training_curves(record: Record, kind: str) -> bytes:
    """The figure as a file of the format `kind`, svg, pdf or png. Raises ValueError where there is nothing to draw."""
    import matplotlib  # takes a second to import
    from matplotlib.figure import Figure

    panels = _find_panels(record)
    if not panels:
        raise ValueError("nothing to draw")
    rows = math.ceil(len(panels) / COLUMNS)
    columns = min(COLUMNS, len(panels))
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
        for place, (title, curves) in enumerate(panels.items(), start=1):
            _draw_panel(figure.add_subplot(rows, columns, place), title, curves)
        return encode_figure(figure, kind)


def _find_panels(record: Record) -> dict[str, dict[str, Points]]:
    """Title -> the curves in a panel, by their names: the validation scores first, then a panel a level."""
    metrics = record.metrics
    scores = {name_score(score): metrics.find_points(VALIDATION_PHASE, score) for score in SCORES}
    panels = {"Validation": {name: points for name, points in scores.items() if points}}
    for name in metrics.loss_names:
        curves = {phase: metrics.find_points(phase, name) for phase in metrics.loss_phases}
        panels[LOSS_TITLES.get(name, name)] = {phase: points for phase, points in curves.items() if points}
    return {title: curves for title, curves in panels.items() if curves}


def _draw_panel(axes: Axes, title: str, curves: dict[str, Points]) -> None:
    draw_lines(axes, curves, width=1.0)
    axes.set_title(title, fontsize="medium", loc="left")
    axes.set_xlabel("step")
    if len(curves) > 1:
        axes.legend(frameon=False)
