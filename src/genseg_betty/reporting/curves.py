"""The curves of a training: validation scores, the loss of each level, the norm of the hypergradient."""

from genseg_betty.reporting.axes import Limits
from genseg_betty.reporting.elements import build_element, build_figure, build_legend, build_note
from genseg_betty.reporting.figures import MetricSeries, Point, draw_line_chart
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.values import as_mapping
from genseg_betty.run.names import (
    ARCHITECTURE,
    ARCHITECTURE_PHASE,
    DISCRIMINATOR,
    GENERATOR,
    GRADIENT_NORM,
    JACCARD,
    LOSS,
    SCORES,
    SEGMENTER,
    VALIDATION_PHASE,
)

LOSS_TITLES = {
    GENERATOR: "Generator loss (stage I)",
    DISCRIMINATOR: "Discriminator loss (stage I)",
    SEGMENTER: "Segmentation loss (stage II)",
    ARCHITECTURE: "Validation loss of the architecture (stage III)",
}
LEGEND_OF_BOUNDARY = "Steps from left to right; the dashed line ends the warm-up."


def draw_curves(record: Record) -> str:
    """All charts of a Run, side by side."""
    metrics = record.metrics
    if not metrics.rows:
        return build_note("No metrics yet.", "missing")
    x_range = find_step_range(record)
    boundary = _find_boundary(record)
    charts = _draw_validation_scores(record, x_range)
    for name in metrics.loss_names:
        charts += _draw_loss(record, name, x_range, boundary)

    # What is drawn only where it was logged.
    validation_loss = metrics.find_points(VALIDATION_PHASE, LOSS)
    if validation_loss:
        series = MetricSeries(LOSS, validation_loss)
        charts += _draw_chart("Validation loss", series, x_range)
    norm = metrics.find_points(ARCHITECTURE_PHASE, GRADIENT_NORM)
    if norm and record.has_hypergradient:
        title = "Norm of the hypergradient"
        charts += _draw_chart(title, MetricSeries(title, norm), x_range, log=True)

    dashed = build_note(LEGEND_OF_BOUNDARY) if boundary else ""
    return build_element("div", charts, "charts") + dashed


def find_step_range(record: Record) -> Limits:
    """From 0 to the last step, as all charts of a Run have it."""
    return 0.0, float(record.metrics.last_step)


def _find_boundary(record: Record) -> float | None:
    """The last step of the warm-up, where another phase comes after it."""
    last = record.metrics.last_warmup_step
    if last is None or len(record.metrics.loss_phases) == 1:
        return None
    return float(last)


def _draw_chart(
    title: str, series: MetricSeries, x_range: Limits, boundary: float | None = None, log: bool = False
) -> str:
    """A chart of one line below its title."""
    chart = draw_line_chart(title, [series], x_range=x_range, boundary=boundary, log=log)
    return build_figure(title, chart)


def _draw_loss(record: Record, name: str, x_range: Limits, boundary: float | None) -> str:
    """The loss of one level, in all phases in which it stepped."""
    points = []
    for phase in record.metrics.loss_phases:
        points += record.metrics.find_points(phase, name)
    title = LOSS_TITLES.get(name, name)
    if not record.has_generator:
        title = title.partition(" (stage")[0]  # a method without a generator has no stages
    return _draw_chart(title, MetricSeries(name, points), x_range, boundary)


def _draw_validation_scores(record: Record, x_range: Limits) -> str:
    """Dice and Jaccard on the validation images, the best of the Run's own metric ringed."""
    series = _find_validation_scores(record)
    title = "Validation score"
    best = _find_highest(series[0]) if series else None
    lowest = min((y for one in series for _, y in one.points), default=0.0)
    y_range = (min(0.9, lowest), 1.0)
    chart = draw_line_chart(title, series, y_range=y_range, x_range=x_range, mark=best)
    if best is None:
        return build_figure(title, chart)
    step, score = best
    names = [one.name.title() for one in series]
    caption = f"{title}, best {score:.3f} at step {step:g}"
    return build_figure(caption, chart + build_legend(names))


def _find_validation_scores(record: Record) -> list[MetricSeries]:
    """The scores that were logged, the Run's own metric first."""
    names = [name for name in SCORES if record.metrics.find_points(VALIDATION_PHASE, name)]
    dataset = as_mapping(record.config.get("dataset"))
    if JACCARD in (record.results.get("metric"), dataset.get("metric")):
        names.reverse()
    series = []
    for colour, name in enumerate(names):
        points = record.metrics.find_points(VALIDATION_PHASE, name)
        series.append(MetricSeries(name, points, colour))
    return series


def _find_highest(series: MetricSeries) -> Point:
    return max(series.points, key=lambda point: point[1])
