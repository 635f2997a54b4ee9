"""What became of a generator's searchable cells: α of each operation over time, and the operations kept."""

import re

from genseg_betty.reporting.curves import find_step_range
from genseg_betty.reporting.elements import build_element, build_figure, build_legend, build_list, build_note
from genseg_betty.reporting.figures import MetricSeries, draw_line_chart
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.values import as_mapping
from genseg_betty.run.names import ARCHITECTURE_PHASE, AlphaName

HALVES = {"down": "Encoder", "up": "Decoder"}
HALF_OF = {"conv": "down", "upconv": "up"}
"""What the name of a kept operation begins with -> its half."""
LEGEND = "α of each operation over the steps; an operation is kernel / stride / padding."
MARGIN = 0.01
"""A cell is undecided at the end where no operation is further above all others."""
UNDECIDED = "undecided"
LEGEND_OF_UNDECIDED = f"{UNDECIDED}: at the end no operation is more than {MARGIN} above all others."

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
    undecided = []
    for cell, alphas in cells.items():
        leader = find_leader(record, alphas)
        if leader is None:
            undecided.append(cell)
        charts += _draw_cell(record, cell, alphas, operations, leader or UNDECIDED)
    parts = _list_kept(record, undecided)
    parts += build_note(f"{LEGEND} {LEGEND_OF_UNDECIDED}" if undecided else LEGEND)
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


def find_leader(record: Record, alphas: list[AlphaName]) -> str | None:
    """The operation of a cell whose α is above all others at the end; None where none is, by more than `MARGIN`."""
    last = {}
    for alpha in alphas:
        value = record.metrics.find_last_value(ARCHITECTURE_PHASE, str(alpha))
        if value is not None:
            last[alpha.operation] = value
    ranked = sorted(last, key=lambda operation: -last[operation])
    if not ranked:
        return None
    is_ahead = len(ranked) == 1 or last[ranked[0]] - last[ranked[1]] > MARGIN
    return describe_operation(ranked[0]) if is_ahead else None


def _draw_cell(record: Record, cell: Cell, alphas: list[AlphaName], operations: list[str], outcome: str) -> str:
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
    return build_figure(f"{title}: {outcome}", chart)


def _list_kept(record: Record, undecided: list[Cell]) -> str:
    """The operations that the end of the search kept, of each half that has any; those of undecided cells say so."""
    architecture = as_mapping(record.results.get("architecture"))
    kept = architecture.get("kept")
    names = [str(name) for name in kept] if isinstance(kept, list) else []
    halves = {}
    for prefix, half in HALF_OF.items():
        operations = [describe_operation(name) for name in names if name.startswith(prefix)]
        for index, operation in enumerate(operations):
            if (half, str(index)) in undecided:
                operations[index] = f"{operation} ({UNDECIDED})"
        halves[f"kept in the {HALVES[half].lower()}"] = ", ".join(operations) or None
    return build_list(halves)


def describe_operation(name: str) -> str:
    """`upconv_823` -> `8 / 2 / 3`; other names stay."""
    found = re.search(r"_(\d)(\d)(\d)$", name)
    if found is None:
        return name.rpartition(".")[2]
    return " / ".join(found.groups())
