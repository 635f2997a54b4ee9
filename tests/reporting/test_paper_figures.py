"""What a paper takes from a report: figures as SVG and PDF, tables as LaTeX, in a folder beside the page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from genseg_betty.errors import UserError
from genseg_betty.reporting import build_report
from genseg_betty.reporting.contrasts import compare_groups
from genseg_betty.reporting.groups import group_runs
from genseg_betty.reporting.latex import escape_latex, write_contrast_table, write_score_table
from genseg_betty.reporting.reading import read_record
from genseg_betty.reporting.score_columns import list_columns
from reporting.conftest import DATASET
from reporting.test_sample_sizes import set_count

MakeRun = Callable[..., Path]


def read_folder(page: Path) -> dict[str, bytes]:
    folder = page.with_name(f"{page.stem}-figures")
    return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.is_dir() else {}


def test_figures_and_tables_of_a_comparison(make_run: MakeRun, tmp_path: Path) -> None:
    many = set_count(make_run("vanilla", 0, 0.05, name="many", dataset={**DATASET, "n_labelled": 40}), 40)
    runs = [make_run("vanilla"), make_run("genseg"), many]
    found = read_folder(build_report(runs, tmp_path / "page.html", has_figures=True))
    figures = [f"{kind}-{test_set}" for kind in ("labelled", "scores") for test_set in ("nlm_mc", "nlm_sz")]
    expected = {f"{name}.{suffix}" for name in figures for suffix in ("svg", "pdf")}
    assert found.keys() == {*expected, "scores.tex", "comparisons.tex"}
    for name, content in found.items():
        if name.endswith(".svg"):
            tree = ElementTree.fromstring(content)
            assert tree.tag == "{http://www.w3.org/2000/svg}svg"
        elif name.endswith(".pdf"):
            assert content.startswith(b"%PDF")
            assert content.rstrip().endswith(b"%%EOF")
    again = read_folder(build_report(runs, tmp_path / "page.html", has_figures=True))
    assert again == found  # the same Runs, the same bytes
    assert not read_folder(build_report(runs, tmp_path / "other.html"))


def test_a_single_run_has_its_validation_scores(make_run: MakeRun, tmp_path: Path) -> None:
    found = read_folder(build_report([make_run()], tmp_path / "page.html", has_figures=True))
    assert found.keys() == {"validation.svg", "validation.pdf"}


def test_the_tables_say_what_the_runs_say(make_run: MakeRun) -> None:
    records = [read_record(make_run(method, seed)) for method in ("vanilla", "genseg") for seed in range(2)]
    groups = group_runs(records)
    lines = write_score_table(groups, list_columns(records)).splitlines()
    dice = [json.loads((record.path / "results.json").read_text())["test"]["nlm_sz"]["dice"] for record in records[:2]]
    mean, spread = sum(dice) / 2, abs(dice[0] - dice[1]) / 2**0.5
    assert lines[1:5] == [
        r"\begin{tabular}{llllll}",
        r"\toprule",
        r"method & seeds & nlm\_sz, Dice & nlm\_sz, Jaccard & nlm\_mc, Dice & nlm\_mc, Jaccard \\",
        r"\midrule",
    ]
    assert lines[5].startswith(rf"vanilla & 2 & {mean:.3f} $\pm$ {spread:.3f} & ")
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    [first, *_] = compare_groups(groups)
    difference = f"{first.difference:+.3f}".replace("-", "$-$")
    assert f" & Dice & 166 cases, 2 seeds & {difference} & " in write_contrast_table([first])


@pytest.mark.parametrize(("text", "written"), [
    ("a_b & 50 %", r"a\_b \& 50 \%"),
    ("{x} ~ ^ $#", r"\{x\} \textasciitilde{} \textasciicircum{} \$\#"),
    ("\\", r"\textbackslash{}"),
    ("genseg · α=1 ± 2 − 3 – < 0.001 ★…", r"genseg $\cdot$ $\alpha$=1 $\pm$ 2 $-$ 3 -- $<$ 0.001 $\star$\dots{}"),
])  # fmt: skip
def test_what_latex_reads_otherwise_is_escaped(text: str, written: str) -> None:
    assert escape_latex(text) == written


def test_names_out_of_a_strangers_run_name_no_other_file(make_run: MakeRun, tmp_path: Path) -> None:
    run, other = make_run(), make_run("vanilla")
    results = json.loads((run / "results.json").read_text())
    results["test"] = {"../../evil $x_{1$": results["test"]["nlm_sz"]}
    (run / "results.json").write_text(json.dumps(results))
    with pytest.warns(UserWarning, match="not as the Run wrote"):
        page = build_report([run, other], tmp_path / "out" / "page.html", has_figures=True)
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in read_folder(page))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "page.html", "page.csv", "page-cases.csv", "page-figures",
    }  # fmt: skip


def test_no_figure_of_others_is_replaced(make_run: MakeRun, tmp_path: Path) -> None:
    folder = tmp_path / "page-figures"
    folder.mkdir()
    (folder / "scores.tex").write_text("\\section{Mine}")
    with pytest.raises(UserError, match=r"scores\.tex is there already and is no report"):
        build_report([make_run(), make_run("vanilla")], tmp_path / "page.html", has_figures=True)
    assert not (tmp_path / "page.html").exists()
