"""Where the values of a figure lie in its picture, and the lines and numbers that say so."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 8, 20
"""Pixels around the drawn values, for the numbers on the axes."""
MARGIN = 0.05
"""Of the values' range, above and below them."""

Limits = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Maps values between low and high to pixels between start and end; `log` if they are logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    integer: bool = False

    def find_pixel(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def find_ticks(self, count: int) -> list[float]:
        """At most about `count` round values, spread over the axis."""
        locator = MaxNLocator(nbins=count, integer=self.log or self.integer)
        tolerance = 1e-9 * (self.high - self.low)
        low, high = self.low - tolerance, self.high + tolerance
        found = locator.tick_values(self.low, self.high)
        return [float(tick) for tick in found if low <= tick <= high]

    def label_tick(self, tick: float) -> str:
        """The number at a tick."""
        if self.log:
            return f"1e{tick:g}"
        value = 0.0 if abs(tick) < 1e-12 else tick
        return f"{value:g}"


@dataclass(frozen=True)
class Axes:
    """Both axes of a figure."""

    x: Axis
    y: Axis

    def place_point(self, x: float, y: float) -> str:
        """A point in pixels, as SVG writes it: `x,y`."""
        column, row = self.x.find_pixel(x), self.y.find_pixel(y)
        return f"{column:.1f},{row:.1f}"


def build_x_axis(limits: Limits) -> Axis:
    """An axis from the left of the picture to its right."""
    low, high = _separate_limits(limits)
    return Axis(low, high, start=LEFT, end=WIDTH - RIGHT)


def build_y_axis(limits: Limits, log: bool = False, integer: bool = False) -> Axis:
    """An axis from the bottom of the picture to its top."""
    low, high = _separate_limits(limits)
    return Axis(low, high, start=HEIGHT - BOTTOM, end=TOP, log=log, integer=integer)


def find_limits(values: Sequence[float]) -> Limits:
    """The least and the highest value."""
    return min(values), max(values)


def pad_limits(limits: Limits) -> Limits:
    """The limits, moved apart by `MARGIN`."""
    low, high = limits
    padding = MARGIN * (high - low)
    return low - padding, high + padding


def _separate_limits(limits: Limits) -> Limits:
    """Limits that differ, or nothing could be drawn between them."""
    low, high = limits
    if high > low:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def draw_grid(axes: Axes, x_ticks: int = 5, y_ticks: int = 4) -> str:
    """A line and a number at each tick of the vertical axis, a number at each of the other, and a line below."""
    parts = ""
    for tick in axes.y.find_ticks(y_ticks):
        y = axes.y.find_pixel(tick)
        parts += draw_shape("line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
        parts += _draw_label(axes.y.label_tick(tick), f"{LEFT - 6}", f"{y + 3.5:.1f}", anchor="end")
    for tick in axes.x.find_ticks(x_ticks):
        x = axes.x.find_pixel(tick)
        parts += _draw_label(axes.x.label_tick(tick), f"{x:.1f}", f"{HEIGHT - 5}", anchor="middle")
    floor = HEIGHT - BOTTOM
    return parts + draw_shape("line", "axis", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor)


def draw_shape(tag: str, css: str, content: str = "", **attributes: float | str) -> str:
    """An SVG shape of a class of the page's style, around other markup where there is some.

    Floats have one decimal; whole numbers and text are written as they are.
    """
    opening = f'{tag} class="{css}"'
    for name, value in attributes.items():
        written = f"{value:.1f}" if isinstance(value, float) else value
        opening += f' {name}="{written}"'
    if not content:
        return f"<{opening}/>"
    return f"<{opening}>{content}</{tag}>"


def _draw_label(label: str, x: str, y: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{label}</text>'
