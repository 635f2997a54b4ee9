"""The scores of a report as Markdown: mean ± sd over seeds, and every method compared with another one.

The same from Runs and from the tables that a report of them wrote: what is printed today can be printed again without
the Runs.
"""

from collections.abc import Sequence

from genseg_betty.errors import UserError
from genseg_betty.reporting.contrast_table import COLUMNS_OF_CONTRASTS, REFERENCES, describe_columns, list_cells
from genseg_betty.reporting.contrasts import Contrast, correct_contrasts
from genseg_betty.reporting.method_names import require_method
from genseg_betty.reporting.row_contrasts import compare_cases, compare_seeds, find_column, find_means, list_test_names
from genseg_betty.reporting.score_tables import Methods, Row, ScoreTables, group_rows
from genseg_betty.reporting.values import NONE
from genseg_betty.reporting.wording import name_score
from genseg_betty.run.names import CONSTANT, DICE
from genseg_betty.statistics import summarise

TABLE_NOTE = "{score}: mean ± standard deviation (n − 1) over seeds, and their number."
SEEDS_ALONE = "Over seeds alone: the scores of cases are in {file} of a report, which is not here."


def build_summary(tables: ScoreTables, against: str | None = None, score: str | None = None) -> str:
    """Markdown: the table of scores, that of comparisons, and a line for each Run whose scores say nothing.

    Args:
        against: the method that all others are compared with; None: the first one listed of the same dataset, number
            of images and backbone.
        score: any score of the tables; None: the one that they name, Dice where they name none or several.

    Raises:
        UserError: no row has the score, or `against` is none of the methods.
    """
    score = score or _find_metric(tables.scores)
    scored = [row for row in tables.scores if row.get(score)]
    if not scored:
        raise UserError(f"there are no values of {score}")
    names = tables.names
    methods = group_rows(scored, names)
    if against is not None:
        require_method(against, list(methods))
    parts = [_tabulate_scores(methods, score), TABLE_NOTE.format(score=name_score(score))]
    parts += _list_comparisons(tables, methods, against, score)
    parts += _list_warnings(tables.scores)
    return "\n\n".join(parts) + "\n"


def _find_metric(rows: Sequence[Row]) -> str:
    """The score that the datasets are judged by, where they agree."""
    found = {row.get("metric") or DICE for row in rows if row["test_set"]}
    return found.pop() if len(found) == 1 else DICE


def _tabulate_scores(methods: Methods, score: str) -> str:
    """Mean ± standard deviation over the Runs of each method."""
    columns = dict.fromkeys(find_column(row) for rows in methods.values() for row in rows)
    table = []
    for name, rows in methods.items():
        means = find_means(rows, score)
        cells = [name]
        for column in columns:
            values = [mean for (_, tested), mean in means.items() if tested == column]
            cells.append(str(summarise(values)) if values else NONE)
        table.append(cells)
    return _write_table(["method", *columns], table)


def _list_comparisons(tables: ScoreTables, methods: Methods, against: str | None, score: str) -> list[str]:
    """The table of comparisons, p-values corrected for all of them, and what its columns say."""
    references = _find_references(tables, methods, against)
    of_cases = None if tables.cases is None else group_rows(tables.cases, tables.names)
    contrasts: list[Contrast] = []
    for test_set in list_test_names(methods):
        for name, reference in references.items():
            tested = [any(row["test_set"] == test_set for row in methods[one]) for one in (name, reference)]
            if not all(tested):
                continue
            if of_cases is None:
                contrasts.append(compare_seeds(methods, name, reference, test_set, score))
            else:
                contrasts.append(compare_cases(of_cases, name, reference, test_set, score))
    if not contrasts:
        return []
    corrected = correct_contrasts(contrasts)
    rows = [list_cells(contrast) for contrast in corrected]
    table = _write_table(COLUMNS_OF_CONTRASTS, rows)
    if of_cases is None:
        return [table, SEEDS_ALONE.format(file="FILE-cases.csv")]
    return [table, REFERENCES, *describe_columns(corrected)]


def _find_references(tables: ScoreTables, methods: Methods, against: str | None) -> dict[str, str]:
    """Method -> the one that it is compared with; a reference itself has none."""
    settings = {name: key.setting for key, name in tables.names.items() if name in methods}
    references = {}
    for name, setting in settings.items():
        first = next(other for other in settings if settings[other] == setting)
        reference = against or first
        if reference != name:
            references[name] = reference
    return references


def _list_warnings(rows: Sequence[Row]) -> list[str]:
    """A list of the Runs without scores, and of those that predict one class everywhere; nothing where all is well."""
    lines = []
    for row in rows:
        if not row["test_set"]:
            lines.append(f"- {row['run']}: no scores, {row.get('state') or 'unknown'}")
        elif row.get(CONSTANT):
            lines.append(f"- {row['run']}: every prediction on {row['test_set']} is all {row[CONSTANT]}")
    return ["\n".join(lines)] if lines else []


def _write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = []
    for cells in (columns, ["---"] * len(columns), *rows):
        escaped = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines)
