"""What became of a generator's searchable cells: α of each operation over time, and the operations kept."""

import re

from genseg_betty.report.curves import find_step_range
from genseg_betty.report.elements import build_element, build_figure, build_legend, build_list, build_note
from genseg_betty.report.figures import MetricSeries, draw_line_chart
from genseg_betty.report.record import Record
from genseg_betty.report.values import as_mapping
from genseg_betty.run.names import ARCHITECTURE_PHASE, AlphaName

HALVES = {"down": "Encoder", "up": "Decoder"}
KEPT_IN = {"conv": "kept in the encoder", "upconv": "kept in the decoder"}
LEGEND = "α of each operation over the steps; an operation is kernel / stride / padding."

Cell = tuple[str, str]
"""The half that it is in, and its number there from 0."""


def draw_architecture(record: Record) -> str:
    """α of every searched cell over time, and the operations that were kept; nothing where no α is learned."""
    if not record.has_hypergradient:
        return ""
    cells = _group_by_cell(record)
    if not cells:
        return ""
    operations = _list_operations(cells)
    charts = ""
    for cell, alphas in cells.items():
        charts += _draw_cell(record, cell, alphas, operations)
    parts = _list_kept(record)
    parts += build_note(LEGEND)
    parts += build_legend(operations)
    return parts + build_element("div", charts, "charts cells")


def _list_operations(cells: dict[Cell, list[AlphaName]]) -> list[str]:
    """The operations of all cells, each once, as the page shows them."""
    operations: dict[str, None] = {}
    for alphas in cells.values():
        operations |= dict.fromkeys(describe_operation(alpha.operation) for alpha in alphas)
    return list(operations)


def _group_by_cell(record: Record) -> dict[Cell, list[AlphaName]]:
    """The cells whose α were logged, each with the names of its metrics."""
    cells: dict[Cell, list[AlphaName]] = {}
    for metric in record.metrics.find_names(ARCHITECTURE_PHASE):
        alpha = AlphaName.parse_metric(metric)
        if alpha is not None:
            cells.setdefault((alpha.half, alpha.cell), []).append(alpha)
    return cells


def _draw_cell(record: Record, cell: Cell, alphas: list[AlphaName], operations: list[str]) -> str:
    """A small chart with a line for each operation of a cell; equal operations have one colour in all cells."""
    series = []
    for alpha in alphas:
        operation = describe_operation(alpha.operation)
        points = record.metrics.find_points(ARCHITECTURE_PHASE, str(alpha))
        series.append(MetricSeries(operation, points, operations.index(operation)))
    half, index = cell
    title = f"{HALVES[half]} cell {int(index) + 1}"
    x_range = find_step_range(record)
    chart = draw_line_chart(title, series, y_range=(0.0, 1.0), x_range=x_range, coarse=True)
    return build_figure(title, chart)


def _list_kept(record: Record) -> str:
    """The operations that the end of the search kept, of each half that has any."""
    architecture = as_mapping(record.results.get("architecture"))
    kept = architecture.get("kept")
    names = [str(name) for name in kept] if isinstance(kept, list) else []
    halves = {}
    for prefix, title in KEPT_IN.items():
        operations = [describe_operation(name) for name in names if name.startswith(prefix)]
        halves[title] = ", ".join(operations) or None
    return build_list(halves)


def describe_operation(name: str) -> str:
    """`upconv_823` -> `8 / 2 / 3`; other names stay."""
    found = re.search(r"_(\d)(\d)(\d)$", name)
    if found is None:
        return name.rpartition(".")[2]
    return " / ".join(found.groups())
