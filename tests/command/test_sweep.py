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
from genseg_betty.run import Run


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
