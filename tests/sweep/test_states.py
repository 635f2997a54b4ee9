"""What became of a cell: out of its Run, of what it ended with, and of its SLURM job."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genseg_betty.cli import main
from genseg_betty.config import compose
from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.sweep import cell_states
from genseg_betty.sweep.cell_states import read_states
from genseg_betty.sweep.summary import conclude, find_records, tell_runs, tell_states, write_report
from genseg_betty.sweep.sweep_file import Cell, CellOutcome, Sweep, name_sweep, read_sweep

FAILED = CellOutcome("failed", "no such image")
STOPPED = CellOutcome("interrupted", "interrupted by signal 15")
DONE = CellOutcome("finished", run_dir="run-1")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    cells = [Cell(number, [f"seed={number}"], {"seed": str(number)}, f"run-{number}") for number in (1, 2)]
    made = Sweep(tmp_path / "sweep", cells, {"name": "local", "jobs": 1}, [], working_dir=str(tmp_path))
    made.write()
    return made


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a Run as a training does, in a state."""

    def write(name: str, state: str, message: str = "", score: float = 0.5) -> Path:
        config = compose(["trainer.iterations=5", "seed=1"])
        with Run.start(tmp_path / name, config) as run:
            if state == "finished":
                test = {"phantom": {"dice": score, "cases": 1}}
                run.write_json("results.json", {"iterations": 5, "finished": "now", "dataset": "phantom", "test": test})
            run.status(state, step=5, message=message)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("run", "outcome", "job_lives", "expected"),
    [
        (None, None, None, ("waiting", "")),
        (None, None, True, ("queued", "")),
        (None, None, False, ("waiting", "")),
        (None, FAILED, None, ("failed", "no such image")),  # before there was a Run
        (None, FAILED, True, ("queued", "")),  # again
        (None, DONE, None, ("waiting", "its Run was finished, and run-1 is gone")),
        ("finished", None, None, ("finished", "")),  # before the sweep
        ("finished", FAILED, None, ("finished", "")),
        ("finished", DONE, False, ("finished", "")),
        ("interrupted", STOPPED, None, ("interrupted", "interrupted by signal 15")),
        ("interrupted", STOPPED, True, ("queued", "")),
        ("failed", None, None, ("failed", "why")),  # trained outside of the sweep
        ("running", None, True, ("running", "")),
        ("running", None, False, ("killed", "")),  # its node died
    ],
)
def test_a_cell_is_in_the_state_that_is_known_best(
    run: str | None,
    outcome: CellOutcome | None,
    job_lives: bool | None,
    expected: tuple[str, str],
    sweep: Sweep,
    write_run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if run:
        write_run("run-1", run, "" if run == "running" else "why")
    if outcome:
        sweep.write_outcome(sweep.cells[0], outcome)
    if job_lives is not None:
        sweep.write_jobs({1: "41_0"})
    monkeypatch.setattr(cell_states, "list_live_jobs", lambda master: {"41_0"} if job_lives else set())
    first, second = read_states(sweep, sweep.cells)
    assert (first.state, first.reason) == expected
    assert second.state == "waiting"


def test_where_slurm_cannot_be_asked_a_run_says_how_far_it_is(
    sweep: Sweep, write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run("run-1", "running")
    sweep.write_jobs({1: "41_0"})
    monkeypatch.setattr(cell_states, "list_live_jobs", lambda master: None)
    assert read_states(sweep, sweep.cells)[0].state == "running"


def test_a_run_is_found_whose_number_of_images_the_data_said(
    sweep: Sweep, write_run: Callable[..., Path], tmp_path: Path
) -> None:
    open_cell = Cell(1, [], {}, "outputs/phantom-nauto-s1-ab12cd34")
    write_run("outputs/phantom-n40-s1-ab12cd34", "finished")
    asked = Sweep(sweep.folder, [open_cell], sweep.launcher, [], sweep.working_dir)
    (state,) = read_states(asked, asked.cells)
    assert state.state == "finished"
    assert state.record is not None
    assert state.record.path == tmp_path / "outputs" / "phantom-n40-s1-ab12cd34"


def test_a_table_tells_states_scores_and_reasons(
    sweep: Sweep, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_run("run-1", "finished", score=0.9876)
    sweep.write_outcome(sweep.cells[1], FAILED)
    tell_states(sweep, read_states(sweep, sweep.cells))
    assert capsys.readouterr().out.splitlines() == [
        "cell  seed  state     step  phantom",
        "1     1     finished  5     0.988",
        "2     2     failed    –     –",
        "finished: 1 of 2, failed: 1 of 2",
        "failed: no such image  (2: seed=2)",
        f"go on with those that are not: genseg sweep resume {sweep.folder}",
    ]


def test_the_report_of_a_sweep_has_what_a_paper_takes(
    sweep: Sweep, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run("run-1", "finished", score=0.25)]
    assert conclude(sweep) == 1
    assert f"the finished ones compared: {sweep.folder / 'report.html'}" in capsys.readouterr().out
    written = {file.relative_to(sweep.folder).as_posix() for file in sweep.folder.rglob("report*") if file.is_file()}
    assert {"report.html", "report.csv", "report.md"} <= written
    assert "0.250 (n = 1)" in (sweep.folder / "report.md").read_text(encoding="utf-8")
    runs.append(write_run("run-2", "finished", score=0.75))
    assert write_report(runs, sweep.folder) == sweep.folder / "report.html"
    figures = {file.name for file in (sweep.folder / "report-figures").iterdir()}
    assert {file.rpartition(".")[2] for file in figures} == {"svg", "pdf", "tex"}


def test_the_folder_of_a_sweep_stands_for_its_runs(
    sweep: Sweep, write_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.md"
    command = ["report", str(sweep.folder), "--out", str(out)]
    statuses = []
    for runs in ([], ["run-1"]):
        for name in runs:
            write_run(name, "finished", score=0.25)
        with pytest.raises(SystemExit) as caught:
            main(command)
        statuses.append(caught.value.code)
    assert statuses == [1, 0]
    assert f"no cell has a Run yet: genseg sweep status {sweep.folder}" in capsys.readouterr().err
    assert "0.250 (n = 1)" in out.read_text(encoding="utf-8")


def test_runs_are_listed_and_a_broken_one_among_them(
    write_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run("outputs/one", "finished", score=0.5)
    write_run("outputs/more/two", "interrupted")
    write_run("outputs/broken", "finished")
    (tmp_path / "outputs" / "broken" / "config.yaml").unlink()
    (tmp_path / "outputs" / "no-run").mkdir()
    records, broken = find_records(tmp_path / "outputs")
    assert [record.path.name for record in records] == ["two", "one"]
    assert [path.name for path in broken] == ["broken"]
    tell_runs(tmp_path / "outputs")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["run", "state", "step", "phantom", "age"],
        ["more/two", "interrupted", "5", "–", "0", "min"],
        ["one", "finished", "5", "0.500", "0", "min"],
        ["broken", "damaged", "–", "–", "–"],
    ]


def test_a_folder_without_runs_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no Run; expected the folder that Runs are trained in"):
        tell_runs(tmp_path)


def test_a_sweep_is_read_as_it_was_written(sweep: Sweep) -> None:
    assert read_sweep(sweep.folder) == sweep
    assert sweep.read_outcome(sweep.cells[0]) is None
    sweep.write_outcome(sweep.cells[0], FAILED)
    assert sweep.read_outcome(sweep.cells[0]) == FAILED
    sweep.write_jobs({1: "7_0"})
    sweep.write_jobs({2: "8_0"})
    assert sweep.read_jobs() == {1: "7_0", 2: "8_0"}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "cells": [{"number": 1, "overrides": "seed=1"}]}']
)
def test_a_damaged_sweep_is_told_from_one_that_is_not_there(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no sweep: sweep\.json is missing"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=r"sweep\.json is damaged"):
        read_sweep(tmp_path)


def test_what_is_no_job_id_is_not_taken_for_one(sweep: Sweep) -> None:
    (sweep.folder / "jobs.json").write_text(json.dumps({"1": "7_0", "2": "--me; rm"}))
    assert sweep.read_jobs() == {1: "7_0"}


def test_the_same_cells_have_the_same_name(sweep: Sweep) -> None:
    name = name_sweep(sweep.cells, None)
    assert name == name_sweep(list(sweep.cells), None)
    assert name != name_sweep(sweep.cells[:1], None)
    assert name_sweep(sweep.cells, "fig05").startswith("fig05-")
