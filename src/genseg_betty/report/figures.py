"""Small figures as inline SVG. Colours and fonts come from the page's style, so light and dark both fit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from genseg_betty.report.markup import text

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 8, 20
BINS = 150


@dataclass(frozen=True)
class Series:
    """One line: points (step, value) and the number of its colour (class c0, c1, … of the page)."""

    name: str
    points: Points
    colour: int = 0


@dataclass(frozen=True)
class Axis:
    """Maps values between low and high to pixels between start and end; `log` if they are logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    integer: bool = False

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        found = MaxNLocator(nbins=count, integer=self.log or self.integer).tick_values(self.low, self.high)
        margin = 1e-9 * (self.high - self.low)
        return [float(tick) for tick in found if self.low - margin <= tick <= self.high + margin]

    def label(self, tick: float) -> str:
        return f"1e{tick:g}" if self.log else f"{0.0 if abs(tick) < 1e-12 else tick:g}"


def line_chart(
    title: str,
    series: Sequence[Series],
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    mark: tuple[float, float] | None = None,
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
        series = [_on_logarithmic_axis(one) for one in series]
    points = [point for one in series for point in one.points]
    if not points:
        return f'<p class="missing">{text(title)}: no values</p>'
    x_axis = Axis(*_span(x_range or _limits([x for x, _ in points])), LEFT, WIDTH - RIGHT)
    y_axis = Axis(*_span(y_range or _padded([y for _, y in points])), HEIGHT - BOTTOM, TOP, log)
    parts = [_grid(x_axis, y_axis, (3, 2) if coarse else (5, 4))]
    if boundary is not None and x_axis.low < boundary < x_axis.high:
        x = x_axis(boundary)
        parts.append(f'<line class="boundary" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    parts += [_line(one, x_axis, y_axis) for one in series if one.points]
    if mark is not None:
        x, y = x_axis(mark[0]), y_axis(mark[1])
        parts.append(f'<circle class="ring c{series[0].colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return _svg(title, parts)


def histogram(title: str, values: Sequence[float]) -> str:
    """How many cases reach which score in [0, 1], in bins of 0.05, or of 0.02 where all scores are high."""
    low = min(0.9, max(0.0, math.floor(min(values) * 10) / 10))
    width = 0.05 if low < 0.6 else 0.02
    bins = round((1 - low) / width)
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, math.floor((value - low) / width + 1e-9)))] += 1
    x_axis = Axis(low, 1.0, LEFT, WIDTH - RIGHT)
    y_axis = Axis(0, max(counts) * 1.05, HEIGHT - BOTTOM, TOP, integer=True)
    parts = [_grid(x_axis, y_axis)]
    for index, count in enumerate(counts):
        x, y = x_axis(low + index * width), y_axis(count)
        size = x_axis(low + (index + 1) * width) - x - 1
        parts.append(
            f'<rect class="bar" x="{x + 0.5:.1f}" y="{y:.1f}" width="{size:.1f}" height="{HEIGHT - BOTTOM - y:.1f}"/>'
        )
    return _svg(title, parts)


def _on_logarithmic_axis(series: Series) -> Series:
    positive = [(x, math.log10(y)) for x, y in series.points if y > 0]
    return Series(series.name, positive, series.colour)


def thin(points: Points, bins: int = BINS) -> list[tuple[float, float, float, float]]:
    """At most `bins` points (x, mean, least, most), each of neighbouring points."""
    size = math.ceil(len(points) / bins) if points else 1
    thinned = []
    for start in range(0, len(points), size):
        xs, ys = zip(*points[start : start + size], strict=True)
        mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
        thinned.append((mean_x, mean_y, min(ys), max(ys)))
    return thinned


def _line(series: Series, x_axis: Axis, y_axis: Axis) -> str:
    def place(x: float, y: float) -> str:
        return f"{x_axis(x):.1f},{y_axis(y):.1f}"

    points = thin(series.points)
    path = " ".join(place(x, mean) for x, mean, _, _ in points)
    band = ""
    if len(points) < len(series.points):
        upper = [place(x, most) for x, _, _, most in points]
        lower = [place(x, least) for x, _, least, _ in reversed(points)]
        band = f'<polygon class="band c{series.colour}" points="{" ".join(upper + lower)}"/>'
    name = f"<title>{text(series.name)}</title>"
    if len(points) == 1:
        x, y = path.split(",")
        return f'<circle class="dot c{series.colour}" cx="{x}" cy="{y}" r="2.5">{name}</circle>'
    return f'{band}<polyline class="line c{series.colour}" points="{path}">{name}</polyline>'


def _grid(x_axis: Axis, y_axis: Axis, ticks: tuple[int, int] = (5, 4)) -> str:
    parts = []
    for tick in y_axis.ticks(ticks[1]):
        y = y_axis(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{y_axis.label(tick)}</text>')
    for tick in x_axis.ticks(ticks[0]):
        x = x_axis(tick)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{x_axis.label(tick)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    return "".join(parts)


def _svg(title: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}">{"".join(parts)}</svg>'


def _limits(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = _limits(values)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _span(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits that differ, or nothing could be drawn between them."""
    low, high = limits
    if high > low:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin
