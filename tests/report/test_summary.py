"""experiments/summary.py says of a report's tables what the report itself says."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genseg_betty.report import build_report
from genseg_betty.report.contrast_table import list_cells
from genseg_betty.report.contrasts import compare_groups
from genseg_betty.report.groups import group_runs
from genseg_betty.report.reading import read_record

SCRIPT = Path(__file__).parents[2] / "experiments" / "summary.py"
MakeRun = Callable[..., Path]


def summarise_table(*arguments: Path | str) -> str:
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    return [make_run(method, seed, gain) for method, gain in (("vanilla", 0.0), ("genseg", 0.03)) for seed in range(3)]


def test_comparisons_are_those_of_the_report(runs: list[Path], tmp_path: Path) -> None:
    build_report(runs, tmp_path / "page.html")
    printed = summarise_table(tmp_path / "page.csv", "--against", "vanilla").splitlines()
    contrasts = compare_groups(group_runs([read_record(run) for run in runs]))
    for contrast in contrasts:
        cells = ["genseg", "vanilla", *list_cells(contrast)[2:]]
        assert f"| {' | '.join(cells)} |" in printed
    assert "2 tests of this table" in "\n".join(printed)


def test_without_the_scores_of_cases_seeds_are_compared(runs: list[Path], tmp_path: Path) -> None:
    build_report(runs, tmp_path / "page.html")
    (tmp_path / "page-cases.csv").unlink()
    printed = summarise_table(tmp_path / "page.csv", "--against", "vanilla")
    contrast = compare_groups(group_runs([read_record(run) for run in runs]))[0]
    cells = list_cells(contrast)
    difference = cells[5].removesuffix(" ★")
    expected = f"| genseg | vanilla | nlm_sz | Dice | cases unknown, 3 seeds | {difference} | – | {cells[7]} | – |"
    assert expected in printed
    assert "Over seeds alone" in printed


def test_tables_of_earlier_reports_are_read() -> None:
    """Columns of the cases are not in them."""
    results = SCRIPT.parent / "lungs_small" / "results.csv"
    printed = summarise_table(results, "--against", "combine").splitlines()
    assert printed[0] == "| method | nlm_sz | nlm_mc |"
    assert "| combine | 0.932 ± 0.004 (n = 10) | 0.755 ± 0.122 (n = 10) |" in printed
    assert "| separate | combine | nlm_mc | Dice | cases unknown, 10 seeds | +0.085 | – | 0.060 | – |" in printed


def test_another_score_and_an_unknown_method(runs: list[Path], tmp_path: Path) -> None:
    build_report(runs, tmp_path / "page.html")
    assert "Jaccard" in summarise_table(tmp_path / "page.csv", "--against", "vanilla", "--metric", "jaccard")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        summarise_table(tmp_path / "page.csv", "--against", "vanila")
    assert "--against vanila: expected one of genseg, vanilla" in caught.value.stderr
