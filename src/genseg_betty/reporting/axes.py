"""Where the values of a figure lie in its picture, and the lines and numbers that say so."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from genseg_betty.reporting.elements import build_element, escape_text, write_attributes

WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 290, 8, 150
"""Where values are drawn, in pixels; around that lie the numbers of the axes."""
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

    @property
    def length(self) -> float:
        """The distance between the ends, in values."""
        return self.high - self.low

    def find_pixel(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / self.length
        return self.start + share * (self.end - self.start)

    def find_ticks(self, count: int) -> list[float]:
        """At most about `count` round values, spread over the axis."""
        locator = MaxNLocator(nbins=count, integer=self.log or self.integer)
        tolerance = 1e-9 * self.length
        low = self.low - tolerance
        high = self.high + tolerance
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
        column = self.x.find_pixel(x)
        row = self.y.find_pixel(y)
        return f"{column:.1f},{row:.1f}"


def build_x_axis(limits: Limits) -> Axis:
    """An axis from the left of the picture to its right."""
    low, high = _separate_limits(limits)
    return Axis(low, high, start=LEFT, end=RIGHT)


def build_y_axis(limits: Limits, log: bool = False, integer: bool = False) -> Axis:
    """An axis from the bottom of the picture to its top."""
    low, high = _separate_limits(limits)
    return Axis(low, high, start=BOTTOM, end=TOP, log=log, integer=integer)


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
        label = axes.y.label_tick(tick)
        parts += _draw_level("grid", y)
        parts += build_element("text", label, x=LEFT - 6, y=y + 3.5, text_anchor="end")
    for tick in axes.x.find_ticks(x_ticks):
        x = axes.x.find_pixel(tick)
        label = axes.x.label_tick(tick)
        parts += build_element("text", label, x=x, y=HEIGHT - 5, text_anchor="middle")
    return parts + _draw_level("axis", BOTTOM)


def _draw_level(css: str, y: float) -> str:
    """A line from the left to the right."""
    return draw_shape("line", css, x1=LEFT, x2=RIGHT, y1=y, y2=y)


def draw_shape(tag: str, css: str, title: str = "", **attributes: float | str) -> str:
    """An SVG shape of a class of the page's style. `title` is shown where a pointer rests on it."""
    if title:
        inner = build_element("title", escape_text(title))
        return build_element(tag, inner, css, **attributes)
    written = write_attributes(css, attributes)
    return f"<{tag}{written}/>"
