"""Markdown of Runs, and of the tables that a report wrote of them: both say what the page says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from genseg_betty.cli import run as run_command
from genseg_betty.errors import UserError
from genseg_betty.reporting import build_report
from genseg_betty.reporting.contrast_table import list_cells
from genseg_betty.reporting.contrasts import compare_groups
from genseg_betty.reporting.groups import find_group, group_runs
from genseg_betty.reporting.markdown import build_summary
from genseg_betty.reporting.reading import read_record
from genseg_betty.reporting.row_contrasts import find_column
from genseg_betty.reporting.score_tables import read_score_tables
from genseg_betty.run import Run
from reporting.test_page import Page, rows_of

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
MakeRun = Callable[..., Path]
Say = Callable[..., str]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """What `genseg report` prints."""

    def run(*arguments: Path | str) -> str:
        assert run_command(["report", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    return [make_run(method, seed, gain) for method, gain in (("vanilla", 0.0), ("genseg", 0.03)) for seed in range(3)]


def test_comparisons_are_those_of_the_report(runs: list[Path], tmp_path: Path, say: Say) -> None:
    """Of Runs and of tables alike, whether the reference is asked for or the first one listed."""
    build_report(runs, tmp_path / "page.html")
    printed = say(tmp_path / "page.csv", "--against", "vanilla")
    contrasts = compare_groups(group_runs([read_record(run) for run in runs]))
    for contrast in contrasts:
        cells = ["genseg", "vanilla", *list_cells(contrast)[2:]]
        assert f"| {' | '.join(cells)} |" in printed.splitlines()
    assert "2 tests of this table" in printed
    for others in ([tmp_path / "page.csv"], [*runs, "--against", "vanilla"], [*runs, "--metric", "dice"]):
        assert say(*others) == printed


def test_a_file_of_markdown(runs: list[Path], tmp_path: Path, say: Say) -> None:
    """A Run without scores is told; a file of somebody else is not replaced."""
    with Run.start(tmp_path / "begun", {"seed": 5, "method": {"name": "genseg"}}):
        pass
    out = tmp_path / "new" / "scores.md"
    assert say(*runs, tmp_path / "begun", "--out", out) == f"{out}\n"
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    lines = out.read_text().splitlines()
    columns = [find_column(row) for row in read_first_run(runs, tmp_path)]
    assert lines[0] == f"| method | {' | '.join(columns)} |"
    assert lines[-1] == "- begun: no scores, running"
    assert say(tmp_path / "page.csv", "--out", out) == f"{out}\n"
    assert out.read_text().splitlines() == lines[:-2]
    with pytest.raises(UserError, match=r"of tables there is no page; expected a file with suffix \.md"):
        say(tmp_path / "page.csv", "--out", tmp_path / "other.html")
    (tmp_path / "notes.md").write_text("# Notes\n")
    with pytest.raises(UserError, match=r"notes\.md is there already and is no report"):
        say(*runs, "--out", tmp_path / "notes.md")


def read_first_run(runs: list[Path], folder: Path) -> list[dict[str, str]]:
    """The rows of the first Run in the table of scores."""
    build_report(runs, folder / "page.html")
    return [row for row in rows_of(folder / "page.csv") if row["run"] == runs[0].name]


def test_without_the_scores_of_cases_seeds_are_compared(runs: list[Path], tmp_path: Path, say: Say) -> None:
    build_report(runs, tmp_path / "page.html")
    (tmp_path / "page-cases.csv").unlink()
    printed = say(tmp_path / "page.csv", "--against", "vanilla")
    contrast = compare_groups(group_runs([read_record(run) for run in runs]))[0]
    cells = list_cells(contrast)
    difference = cells[5].removesuffix(" ★")
    expected = f"| genseg | vanilla | nlm_sz | Dice | cases unknown, 3 seeds | {difference} | – | {cells[7]} | – |"
    assert expected in printed
    assert "Over seeds alone" in printed


def test_tables_of_earlier_reports_are_read(say: Say) -> None:
    """Columns of the cases are not in them."""
    results = EXPERIMENTS / "lungs_small" / "results.csv"
    printed = say(results, "--against", "combine").splitlines()
    assert printed[0] == "| method | nlm_sz | nlm_mc |"
    assert "| combine | 0.932 ± 0.004 (n = 10) | 0.755 ± 0.122 (n = 10) |" in printed
    assert "| separate | combine | nlm_mc | Dice | cases unknown, 10 seeds | +0.085 | – | 0.060 | – |" in printed


def test_another_score_and_an_unknown_method(runs: list[Path], tmp_path: Path, say: Say) -> None:
    build_report(runs, tmp_path / "page.html")
    assert "| Jaccard |" in say(tmp_path / "page.csv", "--against", "vanilla", "--metric", "jaccard")
    for paths in ([tmp_path / "page.csv"], runs):
        with pytest.raises(UserError, match="--against vanila: expected one of vanilla, genseg"):
            say(*paths, "--against", "vanila")
        with pytest.raises(UserError, match="--metric dise: expected one of dice, jaccard, precision"):
            say(*paths, "--metric", "dise")
    with pytest.raises(UserError, match="there are no values of hd95"):
        say(EXPERIMENTS / "lungs_small" / "results.csv", "--metric", "hd95")
    with pytest.raises(UserError, match=r"page-cases\.csv is no table of scores that a report wrote: it has no column"):
        say(tmp_path / "page-cases.csv")


def test_the_page_compares_with_the_method_asked_for(runs: list[Path], tmp_path: Path, say: Say) -> None:
    out = tmp_path / "page.html"
    say(*runs, "--against", "genseg", "--metric", "jaccard", "--out", out)
    groups = group_runs([read_record(run) for run in runs])
    contrast = compare_groups(groups, find_group(groups, "genseg"), "jaccard")[0]
    row = " ".join(list_cells(contrast))
    assert row.startswith("vanilla (9 of nlm_sz, unet_classic) genseg (9 of nlm_sz")
    assert row in " ".join(Page(out).words.split())
    of_vanilla = [row for row in rows_of(tmp_path / "page.csv") if row["method"] == "vanilla"]
    assert {row["compared_with"] for row in of_vanilla} == {"genseg (9 of nlm_sz, unet_classic · pix2pix)"}


def test_of_two_runs_with_one_seed_the_first_counts(make_run: MakeRun, tmp_path: Path) -> None:
    """As on the page."""
    runs = [make_run("vanilla"), make_run("genseg", gain=0.05), make_run("genseg", name="again", gain=-0.2)]
    build_report(runs, tmp_path / "page.html")
    [expected, *_] = compare_groups(group_runs([read_record(run) for run in runs]))
    printed = build_summary(read_score_tables([tmp_path / "page.csv"]))
    assert " | ".join(["genseg", "vanilla", *list_cells(expected)[2:]]) in printed
