"""`genseg -m …`: cells, their failures, and what is left on disk. Trainings are recorded, not run."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from genseg_betty.cli import main
from genseg_betty.errors import Interrupted, UserError
from genseg_betty.lock import LOCK, Lock
from genseg_betty.run import Run
from genseg_betty.sweep.sweep_file import read_sweep


class Trainings:
    """Stands in for genseg_betty.methods: a training writes a finished Run. `fail` maps a seed to what one raises."""

    def __init__(self) -> None:
        self.configs: list[Any] = []
        self.fail: dict[int, BaseException] = {}

    def train(self, config: Any) -> Any:
        self.configs.append(config)
        if config.seed in self.fail:
            raise self.fail[config.seed]
        with Run.start(config.run_dir, config) as run:
            run.write_json("results.json", {"iterations": config.trainer.iterations, "finished": "now"})
            run.status("finished", step=5)
        return run


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    data = tmp_path.parent / f"{tmp_path.name}-data"
    monkeypatch.setenv("GENSEG_DATA", str(data))
    for folder in ("nlm_mc", "nlm_sz", "my, own"):
        (data / folder).mkdir(parents=True)
    fake = Trainings()
    monkeypatch.setitem(sys.modules, "genseg_betty.methods", fake)  # type: ignore[arg-type]
    return fake


def status_of(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_every_cell_is_trained_with_its_own_config(toys: Any, trainings: Trainings, tmp_path: Path) -> None:
    words = toys.words("+dataset=nlm_sz,nlm_mc", "seed=range(2)", "+trainer=quick", "-m", "dataset.n_test=5")
    assert status_of(*words) == 0
    cells = [(config.dataset.name, config.seed) for config in trainings.configs]
    assert cells == [("nlm_sz", 0), ("nlm_sz", 1), ("nlm_mc", 0), ("nlm_mc", 1)]
    assert {(c.trainer.name, c.dataset.n_test, c.config_dir) for c in trainings.configs} == {
        ("quick", 5, str(toys.folder))
    }
    single = toys.compose("dataset=nlm_mc", "seed=1", "trainer=quick", "dataset.n_test=5")
    assert trainings.configs[-1] == single
    assert not GlobalHydra.instance().is_initialized()


def test_values_of_all_kinds_survive_the_way_through_hydra(toys: Any, trainings: Trainings) -> None:
    data = os.environ["GENSEG_DATA"]
    lines = ["dataset.labels={background: 0, a: 3}", f"dataset.root='{data}/my, own'", "image_size=[64, 96]"]
    lines += [
        "~trainer.max_nonfinite",
        f"ood=[{{name: nlm_mc, root: '{data}/nlm_mc'}}]",
        "trainer.optimizers.segmenter.eps=1e-7",
    ]
    assert status_of(*toys.words("-m", *lines, "dataset=nlm_sz", "seed=4,5")) == 0
    assert trainings.configs == [toys.compose(*lines, "dataset=nlm_sz", f"seed={seed}") for seed in (4, 5)]


def test_members_by_pattern(toys: Any, trainings: Trainings) -> None:
    assert status_of(*toys.words("--multirun", "dataset=glob(nlm_*)")) == 0
    assert {config.dataset.name for config in trainings.configs} == {"nlm_mc", "nlm_sz"}


def test_one_cell_is_a_sweep_too(toys: Any, trainings: Trainings) -> None:
    assert status_of(*toys.words("-m", "seed=7")) == 0
    assert [config.seed for config in trainings.configs] == [7]


def test_invalid_cells_are_told_before_anything_trains(
    toys: Any, trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*toys.words("-m", "seed=0,-1", "trainer.select=last,lst", "trainer.itertions=5")) == 1
    error = capsys.readouterr().err
    assert "3 problems in the sweep, of which nothing was trained" in error
    assert "seed=-1: expected an integer at least 0 and below 4294967296 (in 2 of 4 cells)" in error
    assert "trainer.select=lst: expected last or best; did you mean last? (in 2 of 4 cells)" in error
    assert "did you mean trainer.iterations (an integer at least 0)? (in 4 of 4 cells)" in error
    assert not trainings.configs
    assert not list(tmp_path.iterdir())


def test_cells_do_not_share_a_directory(toys: Any, trainings: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*toys.words("-m", "seed=0,1", "run_dir=here")) == 1
    assert "run_dir=here: 2 cells would share it" in capsys.readouterr().err
    assert not trainings.configs


@pytest.mark.parametrize("failure", [UserError("no such image"), ZeroDivisionError("oh")])
def test_a_cell_that_fails_does_not_stop_the_others(
    toys: Any, trainings: Trainings, capsys: pytest.CaptureFixture[str], failure: Exception
) -> None:
    trainings.fail = {1: failure}
    assert status_of(*toys.words("-m", "seed=0,1,2")) == 1
    assert [config.seed for config in trainings.configs] == [0, 1, 2]
    error = capsys.readouterr().err
    assert str(failure) in error
    assert "seed=1" in error
    assert "Traceback" not in error


def test_one_reason_for_many_failures_is_told_once(
    toys: Any, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.fail = {seed: UserError("no such image") for seed in (0, 2)} | {1: UserError("no such mask")}
    assert status_of(*toys.words("-m", "seed=0,1,2")) == 1
    error = capsys.readouterr().err
    assert (error.count("no such image"), error.count("no such mask")) == (1, 1)
    assert re.search(r"3 of 3: seed=2: failed for the same reason as 1\n", error)


def test_a_folder_that_is_not_there_is_told_before_anything_trains(
    toys: Any, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*toys.words("-m", "seed=0,1,2", "dataset=nlm_sz", "dataset.root=/nowhere", "ood=[]")) == 1
    error = capsys.readouterr().err
    assert error.count("no folder at /nowhere") == 1
    assert "(in 3 of 3 cells)" in error
    assert not trainings.configs


def test_a_number_left_to_the_data_is_compared_with_one_that_is_given(
    toys: Any, trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten pairs: three are the test part, seven are labelled."""
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for index in range(10):
            (tmp_path / "set" / folder / f"{index}.png").write_bytes(bytes(index + 1))
    words = ["-m", "dataset=folder", f"dataset.root={tmp_path / 'set'}"]
    assert status_of(*toys.words(*words, "dataset.n_labelled=null,6")) == 0
    assert status_of(*toys.words(*words, "dataset.n_labelled=null,7")) == 1
    assert re.search(r"-n7-s0-\w+: 2 cells would share it", capsys.readouterr().err)


@pytest.mark.parametrize(("interrupt", "status"), [(Interrupted(15), 143), (KeyboardInterrupt(), 130)])
def test_an_interrupt_stops_the_sweep(toys: Any, trainings: Trainings, interrupt: BaseException, status: int) -> None:
    trainings.fail = {1: interrupt}
    assert status_of(*toys.words("-m", "seed=0,1,2")) == status
    assert [config.seed for config in trainings.configs] == [0, 1]
    assert not GlobalHydra.instance().is_initialized()


def find_folder(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    return folder


def test_the_folder_of_a_sweep_has_its_cells_and_their_report(
    toys: Any, trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = toys.words("-m", "seed=1,2", "dataset=nlm_sz", "launcher.jobs=1")
    trainings.fail = {2: UserError("no such image")}
    assert status_of(*words) == 1
    folder = find_folder(tmp_path)
    sweep = read_sweep(folder)
    assert [cell.settings for cell in sweep.cells] == [{"seed": "1"}, {"seed": "2"}]
    assert [cell.overrides[-2:] for cell in sweep.cells] == [["seed=1", "dataset=nlm_sz"], ["seed=2", "dataset=nlm_sz"]]
    assert [cell.run_dir for cell in sweep.cells] == [str(config.run_dir) for config in trainings.configs]
    assert (folder / "report.html").is_file()
    printed = capsys.readouterr()
    assert "1 of 2: seed=1" in printed.out
    assert "finished: 1 of 2, failed: 1 of 2" in printed.out
    assert "2 of 2: seed=2: failed: no such image" in printed.err

    # The same command goes on in the same folder.
    trainings.fail = {}
    assert status_of(*words) == 0
    assert find_folder(tmp_path) == folder


def test_a_sweep_goes_on_with_what_is_not_finished(
    toys: Any, trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.fail = {1: UserError("no such image"), 2: Interrupted(15)}
    assert status_of(*toys.words("-m", "seed=0,1,2,3")) == 143
    folder = find_folder(tmp_path)
    assert status_of("sweep", "status", str(folder)) == 0
    shown = capsys.readouterr().out
    assert "finished: 1 of 4, failed: 1 of 4, interrupted: 1 of 4, waiting: 1 of 4" in shown
    trainings.configs.clear()
    trainings.fail = {}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert status_of("sweep", "resume", str(folder)) == 0
    assert [config.seed for config in trainings.configs] == [1, 2, 3]
    assert "4 cells, 3 to train" in capsys.readouterr().out
    assert not list(elsewhere.iterdir())
    assert status_of("sweep", "resume", str(folder)) == 0
    assert len(trainings.configs) == 3


def test_going_on_takes_keys_of_the_launcher_alone(
    toys: Any, trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*toys.words("-m", "seed=0,1")) == 0
    folder = find_folder(tmp_path)
    assert status_of("sweep", "resume", str(folder), "seed=5") == 1
    assert "seed=5: expected keys of the launcher alone" in capsys.readouterr().err
    assert status_of("sweep", "resume", str(folder), "launcher.jobs=0") == 1
    assert "launcher.jobs=0: expected an integer from 1 to 256" in capsys.readouterr().err
    assert status_of("sweep", "resume", str(folder), "launcher.jobs=2") == 0
    assert read_sweep(folder).launcher == {"name": "local", "jobs": 2}


def test_one_command_at_a_time_trains_a_sweep(
    toys: Any, trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*toys.words("-m", "seed=0,1")) == 0
    folder = find_folder(tmp_path)
    lock = Lock(folder / LOCK)
    lock.acquire()
    assert status_of(*toys.words("-m", "seed=0,1")) == 1
    assert f"{folder.relative_to(tmp_path)} is in use by process {os.getpid()}" in capsys.readouterr().err
    lock.release()


def test_where_the_sweeps_files_go_can_be_said(toys: Any, trainings: Trainings, tmp_path: Path) -> None:
    assert status_of(*toys.words("-m", "seed=0,1", "hydra.sweep.dir=my sweep")) == 0
    assert (tmp_path / "my sweep" / "sweep.json").is_file()
    assert not (tmp_path / "outputs" / "sweeps").exists()


def test_a_launcher_takes_part_in_sweeps_alone(
    toys: Any, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*toys.words("launcher.jobs=2")) == 1
    assert "launcher.jobs=2: launchers take part in sweeps; give -m as well" in capsys.readouterr().err
    assert status_of(*toys.words("-m", "launcher.jobs=1,2")) == 1
    assert "launcher.jobs=1,2: expected one value, for a sweep has one launcher" in capsys.readouterr().err
    assert not trainings.configs


def test_where_cells_are_trained_does_not_name_their_runs(toys: Any) -> None:
    assert toys.compose("launcher.jobs=2").run_dir == toys.compose().run_dir


def test_without_slurm_its_launcher_is_refused_before_anything(
    toys: Any, trainings: Trainings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert status_of(*toys.words("-m", "launcher=slurm", "seed=0,1")) == 1
    assert "launcher=slurm needs SLURM's sbatch, which is not on PATH" in capsys.readouterr().err
    assert not trainings.configs


def test_an_experiment_brings_its_sweep_along(
    toys: Any, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is given on the command line stands in place of it."""
    file = toys.folder / "experiment" / "fig.yaml"
    file.parent.mkdir()
    file.write_text(
        "# @package _global_\ncopy_paste: 0.5\nhydra: {sweeper: {params: {seed: '3,4', dataset: 'nlm_mc,nlm_sz'}}}\n"
    )
    assert status_of(*toys.words("-m", "+experiment=fig", "dataset=nlm_sz")) == 0
    assert [(c.seed, c.dataset.name, c.copy_paste) for c in trainings.configs] == [
        (3, "nlm_sz", 0.5),
        (4, "nlm_sz", 0.5),
    ]
    assert status_of(*toys.words("experiment=fig")) == 1
    error = capsys.readouterr().err
    assert "experiment=fig sweeps over seed=3,4 dataset=nlm_mc,nlm_sz: give -m, or one value for each key" in error
