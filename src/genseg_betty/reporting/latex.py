"""The tables of a comparison for a paper: LaTeX that needs the package booktabs alone."""

import re
from collections.abc import Sequence

from genseg_betty.reporting.contrast_table import COLUMNS_OF_CONTRASTS, list_cells
from genseg_betty.reporting.contrasts import Contrast
from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.score_columns import ScoreColumn
from genseg_betty.reporting.values import NONE
from genseg_betty.reporting.wording import name_score
from genseg_betty.run.names import SCORES
from genseg_betty.terminal import harmless

HEAD = "% GenSeg report"
WRITTEN = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "±": r"$\pm$", "−": "$-$",
    "–": "--", "·": r"$\cdot$", "★": r"$\star$", "…": r"\dots{}", "α": r"$\alpha$",
}  # fmt: skip
"""What LaTeX reads otherwise than it looks, or has no letter for in every font."""


def write_score_table(groups: Sequence[Group], columns: Sequence[ScoreColumn]) -> str:
    """A row a method: mean ± standard deviation over its seeds, of Dice and Jaccard on each test set."""
    heads = ["method", "seeds"]
    for column in columns:
        heads += [f"{column.title}, {name_score(score)}" for score in SCORES]
    rows = []
    for group in groups:
        row = [group.title, str(len(group.records))]
        for column in columns:
            row += [_format_score(group, column, score) for score in SCORES]
        rows.append(row)
    return _write_table(heads, rows)


def write_contrast_table(contrasts: Sequence[Contrast]) -> str:
    """The table of comparisons, as the page has it."""
    rows = [list_cells(contrast) for contrast in contrasts]
    return _write_table(COLUMNS_OF_CONTRASTS, rows)


def escape_latex(text: str) -> str:
    """Text as LaTeX shows it."""
    pattern = "|".join(map(re.escape, WRITTEN))
    return re.sub(pattern, lambda found: WRITTEN[found[0]], harmless(text))


def _format_score(group: Group, column: ScoreColumn, score: str) -> str:
    summary = group.summarise_scores(column, score)
    if summary is None:
        return NONE
    return f"{summary.mean:.3f}" if summary.sd is None else f"{summary.mean:.3f} ± {summary.sd:.3f}"


def _write_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"{HEAD}: \\usepackage{{booktabs}}", f"\\begin{{tabular}}{{{'l' * len(heads)}}}", r"\toprule"]
    lines += [_write_row(heads), r"\midrule"]
    lines += [_write_row(row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _write_row(cells: Sequence[str]) -> str:
    escaped = [escape_latex(cell) for cell in cells]
    return f"{' & '.join(escaped)} \\\\"
