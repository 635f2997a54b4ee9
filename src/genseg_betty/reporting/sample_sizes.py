"""Scores against the number of labelled images: a line a method, where Runs of several numbers are given."""

from collections.abc import Sequence
from dataclasses import dataclass

from genseg_betty.reporting.axes import Axes, build_x_axis, build_y_axis, draw_grid, draw_shape, find_limits, pad_limits
from genseg_betty.reporting.elements import (
    COLOURS,
    build_element,
    build_figure,
    build_heading,
    build_legend,
    build_note,
)
from genseg_betty.reporting.figures import frame_drawing
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.method_names import name_methods
from genseg_betty.reporting.record import find_settings
from genseg_betty.reporting.score_columns import ScoreColumn
from genseg_betty.reporting.values import as_number
from genseg_betty.reporting.wording import name_score

NOTE = "A dot is a seed; the line joins the means over seeds. From left to right more labelled images."


@dataclass(frozen=True)
class SizeCurve:
    """One method: number of labelled images -> its score for each seed, from few images to many."""

    name: str
    scores: dict[float, list[float]]

    @property
    def means(self) -> dict[float, float]:
        """Number of labelled images -> the mean over the seeds."""
        return {count: sum(scores) / len(scores) for count, scores in self.scores.items()}


def draw_size_curves(groups: Sequence[Group], columns: Sequence[ScoreColumn]) -> str:
    """A chart for each test set on which a method was tested with several numbers of images; nothing without any."""
    charts = ""
    for column in columns:
        score = groups[0].first.metric
        curves = find_size_curves(groups, column, score)
        if curves:
            caption = f"{column.title}: {name_score(score)} against the number of labelled images"
            charts += build_figure(caption, _draw_chart(caption, curves) + build_legend([one.name for one in curves]))
    if not charts:
        return ""
    return build_heading("Labelled images") + build_element("div", charts, "split") + build_note(NOTE)


def find_size_curves(groups: Sequence[Group], column: ScoreColumn, score: str) -> list[SizeCurve]:
    """The methods that have scores with two numbers of images or more, in the order they are listed."""
    likes: dict[str, list[Group]] = {}
    for group in groups:
        is_counted = as_number(group.first.n_labelled) is not None
        if is_counted and group.find_scores(column, score):
            likes.setdefault(_describe_method(group), []).append(group)
    several = [of_method for of_method in likes.values() if len(of_method) > 1]

    # The longest variant says what sets the method apart at any number of images.
    keys = [max((group.key for group in of_method), key=lambda key: len(key.variant)) for of_method in several]
    keys = [key._replace(n_labelled="") for key in keys]
    names = name_methods(keys)
    curves = []
    for key, of_method in zip(keys, several, strict=True):
        scores = {float(group.first.n_labelled): list(group.find_scores(column, score).values()) for group in of_method}
        curves.append(SizeCurve(names[key], dict(sorted(scores.items()))))
    return curves


def _describe_method(group: Group) -> str:
    """All that makes a method but the number of labelled images."""
    settings = {key: value for key, value in find_settings(group.first).items() if key != "dataset.n_labelled"}
    labels = group.labels._replace(n_labelled="")
    return str((labels, sorted(settings.items())))


def _draw_chart(title: str, curves: Sequence[SizeCurve]) -> str:
    counts = [count for curve in curves for count in curve.scores]
    scores = [score for curve in curves for of_count in curve.scores.values() for score in of_count]
    x_axis = build_x_axis(pad_limits(find_limits(counts)))
    axes = Axes(x_axis, build_y_axis(pad_limits(find_limits(scores))))
    parts = draw_grid(axes)
    for number, curve in enumerate(curves):
        css = f"c{number % COLOURS}"
        points = [axes.place_point(count, mean) for count, mean in curve.means.items()]
        dashes = "6 4" if number >= COLOURS else "none"
        parts += draw_shape("polyline", f"line {css}", curve.name, points=" ".join(points), stroke_dasharray=dashes)
        for count, of_count in curve.scores.items():
            for score in of_count:
                x, y = axes.x.find_pixel(count), axes.y.find_pixel(score)
                parts += draw_shape("circle", f"dot {css}", curve.name, cx=x, cy=y, r=2.5)
    return frame_drawing(title, parts)
