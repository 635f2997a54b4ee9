"""Scores against the number of labelled images, cells without a decision, and predictions that show nothing."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from genseg_betty.reporting import build_report, summarise_runs
from genseg_betty.reporting.alpha_curves import draw_architecture, find_leader
from genseg_betty.reporting.groups import group_runs
from genseg_betty.reporting.metric_rows import MetricRows
from genseg_betty.reporting.reading import read_record
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.sample_sizes import find_size_curves
from genseg_betty.reporting.score_columns import list_columns
from genseg_betty.run.names import ARCHITECTURE_PHASE, CONSTANT, AlphaName
from reporting.conftest import DATASET
from reporting.test_page import Page, rows_of

MakeRun = Callable[..., Path]


def set_count(run: Path, count: int) -> Path:
    """The Run with another number of labelled images."""
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**results, "n_labelled": count}))
    return run


def read_dice(run: Path, test_set: str) -> float:
    return float(json.loads((run / "results.json").read_text())["test"][test_set]["dice"])


def test_a_line_for_each_method_with_several_numbers_of_images(make_run: MakeRun, tmp_path: Path) -> None:
    """Also where a method has another one beside it at one of the numbers alone; a single number draws no line."""
    few = [make_run("vanilla", seed, name=f"few-{seed}") for seed in range(2)]
    many = [make_run("vanilla", 0, 0.05, name="many", dataset={**DATASET, "n_labelled": 40})]
    other = make_run("vanilla", name="other", precision="16")
    single = make_run("genseg")
    for run in many:
        set_count(run, 40)
    runs = [*many, *few, other, single]
    records = [read_record(run) for run in runs]
    for column in list_columns(records):
        [curve] = find_size_curves(group_runs(records), column, "dice")
        expected = {9.0: [read_dice(run, column.test_set) for run in few], 40.0: [read_dice(many[0], column.test_set)]}
        assert list(curve.scores.items()) == list(expected.items())
        assert curve.name.startswith("vanilla · ")
        assert curve.means[9.0] == pytest.approx(statistics.fmean(expected[9.0]))
    page = Page(build_report(runs, tmp_path / "page.html"))
    assert "nlm_mc: Dice against the number of labelled images" in page.words
    dots = [attributes for tag, attributes in page.tags if tag == "circle" and attributes.get("r") == "2.5"]
    assert len(dots) >= 2 * 3
    assert "Labelled images" not in Page(build_report([*few, single], tmp_path / "page.html")).words


def imagine_search(*last: tuple[str, float]) -> tuple[Record, list[AlphaName]]:
    """A record of one encoder cell with these operations and their last α."""
    names = [AlphaName("down", "0", f"conv_{digits}") for digits, _ in last]
    rows = []
    for step in (1, 2):
        for name, (_, alpha) in zip(names, last, strict=True):
            value = alpha if step == 2 else 1 / len(last)
            rows.append({"step": step, "phase": ARCHITECTURE_PHASE, "name": str(name), "value": value})
    results = {"generator": "pix2pix", "hypergradient": "exact", "architecture": {"kept": ["conv_421"]}}
    return Record(Path("run"), {"seed": 0}, results=results, metrics=MetricRows(rows)), names


@pytest.mark.parametrize(("last", "leader"), [
    ([("421", 0.30), ("622", 0.34), ("823", 0.36)], "8 / 2 / 3"),
    ([("421", 0.330), ("622", 0.331), ("823", 0.339)], None),
    ([("421", 1 / 3), ("622", 1 / 3), ("823", 1 / 3)], None),
    ([("421", 0.45), ("622", 0.45), ("823", 0.1)], None),
    ([("421", 1.0)], "4 / 2 / 1"),
])  # fmt: skip
def test_a_cell_without_an_operation_above_the_others_is_undecided(
    last: list[tuple[str, float]], leader: str | None
) -> None:
    record, names = imagine_search(*last)
    assert find_leader(record, names) == leader
    drawn = draw_architecture(record)
    assert f"Encoder cell 1: {leader or 'undecided'}" in drawn
    assert ("4 / 2 / 1 (undecided)" in drawn) == (leader is None)
    assert ("at the end no operation is more than 0.01 above all others" in drawn) == (leader is None)


def test_predictions_that_show_nothing_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    """On the page of the Run, in its method's cell of a comparison, in the CSV and in Markdown."""
    runs = [make_run("vanilla"), make_run("vanilla", 1), make_run()]
    results = json.loads((runs[1] / "results.json").read_text())
    results["test"]["nlm_mc"][CONSTANT] = "background"
    (runs[1] / "results.json").write_text(json.dumps(results))
    sentence = "nlm_mc: every prediction is all background, whatever the image shows."
    for run in runs:
        assert (sentence in Page(build_report([run], tmp_path / "one.html")).words) == (run == runs[1])
    words = Page(build_report(runs, tmp_path / "page.html")).words
    assert words.count("seed 1: all background") == 1
    found = {(row["run"], row["test_set"]): row[CONSTANT] for row in rows_of(tmp_path / "page.csv")}
    assert {key for key, constant in found.items() if constant} == {("vanilla-s1", "nlm_mc")}
    assert "- vanilla-s1: every prediction on nlm_mc is all background\n" in summarise_runs(runs)
