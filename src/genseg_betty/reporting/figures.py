"""Small figures as inline SVG. Colours and fonts come from the page's style, so light and dark both fit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from genseg_betty.reporting.axes import (
    BOTTOM,
    HEIGHT,
    TOP,
    WIDTH,
    Axes,
    Limits,
    build_x_axis,
    build_y_axis,
    draw_grid,
    draw_shape,
    find_limits,
    pad_limits,
)
from genseg_betty.reporting.elements import build_element, build_note, escape_text

Point = tuple[float, float]
BINS = 150
"""The most points of one line."""


@dataclass(frozen=True)
class MetricSeries:
    """One line: points (step, value) and the number of its colour (class c0, c1, … of the page)."""

    name: str
    points: Sequence[Point]
    colour: int = 0


class Bin(NamedTuple):
    """Neighbouring points as one: the mean of their steps, and the mean, the least and the most of their values."""

    x: float
    mean: float
    least: float
    most: float


def draw_line_chart(
    title: str,
    series: Sequence[MetricSeries],
    *,
    y_range: Limits | None = None,
    x_range: Limits | None = None,
    mark: Point | None = None,
    boundary: float | None = None,
    log: bool = False,
    coarse: bool = False,
) -> str:
    """Values over steps. Long series are averaged over bins of steps, a band showing the least and the most.

    Args:
        mark: a point to ring, such as the best one.
        boundary: step of a dashed vertical line, such as the end of the warm-up.
        log: a logarithmic axis; values that are not positive are left out.
        coarse: fewer numbers on the axes, for a chart shown very small.
    """
    if log:
        series = [_take_logarithms(one) for one in series]
    axes = _find_axes(series, x_range, y_range, log)
    if axes is None:
        return build_note(f"{title}: no values", "missing")

    # What is drawn later lies above what was drawn before.
    parts = draw_grid(axes, 3, 2) if coarse else draw_grid(axes)
    if boundary is not None:
        parts += _draw_boundary(boundary, axes)
    for one in series:
        parts += _draw_line(one, axes)
    if mark is not None:
        parts += _draw_ring(mark, series[0].colour, axes)
    return frame_drawing(title, parts)


def draw_histogram(title: str, values: Sequence[float]) -> str:
    """How many cases reach which score in [0, 1], in bins of 0.05, or of 0.02 where all scores are high."""
    least = math.floor(min(values) * 10) / 10
    low = min(0.9, max(0.0, least))
    width = 0.05 if low < 0.6 else 0.02
    counts = _count_values(values, low, width)
    y_axis = build_y_axis((0, max(counts) * 1.05), integer=True)
    axes = Axes(build_x_axis((low, 1.0)), y_axis)

    # A bar for each bin, with a pixel between two bars.
    parts = draw_grid(axes)
    for index, count in enumerate(counts):
        left = axes.x.find_pixel(low + index * width)
        right = axes.x.find_pixel(low + (index + 1) * width)
        top = axes.y.find_pixel(count)
        parts += draw_shape(
            "rect",
            "bar",
            x=left + 0.5,
            y=top,
            width=right - left - 1,
            height=BOTTOM - top,
        )
    return frame_drawing(title, parts)


def _count_values(values: Sequence[float], low: float, width: float) -> list[int]:
    """How many values lie in each bin of this width from `low` to 1; those outside count in the bin next to them."""
    bins = round((1 - low) / width)
    counts = [0] * bins
    for value in values:
        index = math.floor((value - low) / width + 1e-9)
        counts[min(bins - 1, max(0, index))] += 1
    return counts


def _take_logarithms(series: MetricSeries) -> MetricSeries:
    """The series on a logarithmic axis, where values that are not positive have no place."""
    positive = []
    for step, value in series.points:
        if value > 0:
            positive.append((step, math.log10(value)))
    return replace(series, points=positive)


def _find_axes(
    series: Sequence[MetricSeries], x_range: Limits | None, y_range: Limits | None, log: bool
) -> Axes | None:
    """Axes over all points, or over the ranges that are asked for; None where there are no points."""
    points = [point for one in series for point in one.points]
    if not points:
        return None
    x_limits = x_range or find_limits([x for x, _ in points])
    y_limits = y_range or pad_limits(find_limits([y for _, y in points]))
    return Axes(build_x_axis(x_limits), build_y_axis(y_limits, log=log))


def thin_points(points: Sequence[Point], bins: int = BINS) -> list[Bin]:
    """At most `bins` bins of neighbouring points."""
    size = math.ceil(len(points) / bins) if points else 1
    thinned = []
    for start in range(0, len(points), size):
        neighbours = points[start : start + size]
        xs = [x for x, _ in neighbours]
        ys = [y for _, y in neighbours]
        mean_x = sum(xs) / len(xs)
        mean_y = sum(ys) / len(ys)
        thinned.append(Bin(mean_x, mean_y, min(ys), max(ys)))
    return thinned


def _draw_line(series: MetricSeries, axes: Axes) -> str:
    """A series as a line, with a band where its points are thinned; a single point as a dot."""
    if not series.points:
        return ""
    bins = thin_points(series.points)
    path = [axes.place_point(bin.x, bin.mean) for bin in bins]
    css = f"c{series.colour}"
    if len(path) == 1:
        x, y = path[0].split(",")
        return draw_shape("circle", f"dot {css}", series.name, cx=x, cy=y, r=2.5)
    points = " ".join(path)
    line = draw_shape("polyline", f"line {css}", series.name, points=points)
    if len(bins) == len(series.points):
        return line
    return _draw_band(bins, f"band {css}", axes) + line


def _draw_band(bins: Sequence[Bin], css: str, axes: Axes) -> str:
    """The area between the least and the most of each bin."""
    upper = [axes.place_point(bin.x, bin.most) for bin in bins]
    lower = [axes.place_point(bin.x, bin.least) for bin in reversed(bins)]
    return draw_shape("polygon", css, points=" ".join(upper + lower))


def _draw_boundary(step: float, axes: Axes) -> str:
    """A vertical line at a step; nothing at the ends of the axis."""
    if not axes.x.low < step < axes.x.high:
        return ""
    x = axes.x.find_pixel(step)
    return draw_shape("line", "boundary", x1=x, x2=x, y1=TOP, y2=BOTTOM)


def _draw_ring(point: Point, colour: int, axes: Axes) -> str:
    step, value = point
    x = axes.x.find_pixel(step)
    y = axes.y.find_pixel(value)
    return draw_shape("circle", f"ring c{colour}", cx=x, cy=y, r=4)


def frame_drawing(title: str, parts: str) -> str:
    """A picture of the size of all figures; the title is for who cannot see it."""
    view = f"0 0 {WIDTH} {HEIGHT}"
    label = escape_text(title)
    return build_element("svg", parts, viewBox=view, role="img", aria_label=label)
