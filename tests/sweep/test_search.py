"""Search: what is asked of Optuna and told to it. Trainings are recorded, not run."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from genseg_betty.cli import main
from genseg_betty.errors import ConfigError, Interrupted, UserError
from genseg_betty.lock import LOCK, Lock
from genseg_betty.run import Run

optuna = pytest.importorskip("optuna", reason="the extra search is not installed")
WORDS = [
    "seed=3",
    "copy_paste=interval(0.0,1.0)",
    "method=choice(strong,real_twice)",
    "trainer.iterations=range(100,301,100)",
]


class Trainings:
    """Stands in for genseg_betty.methods: the score falls with the distance of copy_paste from a half."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.fail: dict[int, BaseException] = {}

    def train(self, config: Any) -> Any:
        assert os.environ["GENSEG_SWEEP"] == "study"
        self.seen.append(
            {"copy_paste": config.copy_paste, "method": config.method.name, "its": config.trainer.iterations}
        )
        if len(self.seen) in self.fail:
            raise self.fail[len(self.seen)]
        score = 1 - abs(config.copy_paste - 0.5)
        with Run.start(config.run_dir, config, "restart") as run:
            results = {"iterations": config.trainer.iterations, "validation": {"last": score, "best": 2.0}}
            run.write_json("results.json", results)
            run.status("finished", step=5)
        return run


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENSEG_SWEEP", raising=False)
    fake = Trainings()
    monkeypatch.setitem(sys.modules, "genseg_betty.methods", fake)  # type: ignore[arg-type]
    return fake


def search(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["search", "--out", "study", *words])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_trials_are_within_what_is_searched_and_the_best_is_told(
    trainings: Trainings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert search("--trials", "6", *WORDS) == 0
    assert len(trainings.seen) == 6
    assert all(0 <= trial["copy_paste"] <= 1 for trial in trainings.seen)
    assert {trial["method"] for trial in trainings.seen} <= {"strong", "real_twice"}
    assert {trial["its"] for trial in trainings.seen} <= {100, 200, 300}
    assert "GENSEG_SWEEP" not in os.environ
    best = min(trainings.seen, key=lambda trial: abs(trial["copy_paste"] - 0.5))
    printed = capsys.readouterr().out
    told = re.search(r"^best: copy_paste=(\S+) method=(\S+) trainer.iterations=(\d+)$", printed, re.M)
    assert told is not None
    assert float(told[1]) == pytest.approx(best["copy_paste"])
    assert (told[2], int(told[3])) == (best["method"], best["its"])
    assert f"validation {1 - abs(best['copy_paste'] - 0.5):.4f}" in printed
    assert len(json.loads((tmp_path / "study" / "runs.json").read_text())) == 6
    assert (tmp_path / "study" / "report.html").is_file()


def test_a_search_that_was_stopped_proposes_what_it_would_have(
    trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search("--trials", "5", *WORDS) == 0
    whole = list(trainings.seen)
    (tmp_path / "study").rename(tmp_path / "before")
    trainings.seen.clear()
    trainings.fail = {3: Interrupted(15)}
    assert search("--trials", "5", *WORDS) == 143
    trainings.fail = {}
    assert search("--trials", "5", *WORDS) == 0
    assert trainings.seen == [*whole[:3], *whole[2:]]  # the third one again, which was under way


def test_a_trial_that_fails_has_no_score_and_others_go_on(
    trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.fail = {1: UserError("no such image"), 2: RuntimeError("out of memory")}
    assert search("--trials", "4", *WORDS) == 0
    printed = capsys.readouterr()
    assert "trial 1 failed: no such image" in printed.err
    assert "trial 2 failed: RuntimeError: out of memory" in printed.err
    assert len(re.findall(r"^\d ", printed.out, re.M)) == 2


def test_a_study_keeps_its_values_and_has_one_command_at_a_time(
    trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search("--trials", "1", "method=choice(strong,real_twice)", "copy_paste=interval(0.0,1.0)") == 0
    assert search("--trials", "2", "method=choice(strong,genseg)", "copy_paste=interval(0.0,1.0)") == 1
    told = "method: the study in study searches it among strong, real_twice, not strong, genseg"
    assert told in capsys.readouterr().err
    lock = Lock(tmp_path / "study" / LOCK)
    lock.acquire()
    assert search("--trials", "2", "method=choice(strong,real_twice)", "copy_paste=interval(0.0,0.5)") == 1
    assert ".lock" in capsys.readouterr().err
    lock.release()
    assert len(trainings.seen) == 1
    assert search("--trials", "2", "method=choice(strong,real_twice)", "copy_paste=interval(0.0,0.5)") == 0
    assert len(trainings.seen) == 2


def test_without_any_score_the_search_has_failed(trainings: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    trainings.fail = {1: UserError("no such image"), 2: UserError("no such image")}
    assert search("--trials", "2", *WORDS) == 1
    assert "no trial has a validation score" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=1"], "nothing to search; expected values to search among: choice(a,b)"),
        (["copy_paste=interval(0.0,2.0)"], "copy_paste=2.0: expected a number"),
        (["trainer.select=choice(last,lst)"], "trainer.select=lst: expected last or best"),
        (["dataset=glob(nlm_*)"], "expected values to search among"),
        (["seed=1"], "int(interval(1,9))"),
        (["trainer.iterations=interval(100,300)"], "; int(interval(1,9)) proposes whole numbers"),
        (["seed=choice(1,2)", "run_dir=here"], "every trial has a Run of its own; leave run_dir out"),
        (["seed=1", "trainer.itertions=choice(1,2)"], "did you mean trainer.iterations"),
    ],
)
def test_what_cannot_be_searched_is_told_before_anything(
    words: list[str], told: str, trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search("--trials", "2", *words) == 1
    error = capsys.readouterr().err
    assert "in the search, of which nothing was trained" in error
    assert told in error
    assert not trainings.seen
    assert not list(tmp_path.iterdir())


def test_intervals_are_of_whole_numbers_real_ones_or_of_their_logarithm() -> None:
    from genseg_betty.sweep.search import read_space

    lines = ["a=int(interval(1,9))", "b=interval(1e-4,1e-2)", "c=tag(log,interval(1e-4,1e-2))", "d=1"]
    fixed, space = read_space(lines)
    assert fixed == ["d=1"]
    assert space["a"] == optuna.distributions.IntDistribution(1, 9)
    assert space["b"] == optuna.distributions.FloatDistribution(1e-4, 1e-2)
    assert space["c"] == optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)


def test_without_optuna_its_extra_is_named(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    from genseg_betty.sweep import search as room

    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'genseg-betty\[search\]'"):
        room.run_search(WORDS, 1, Path("study"))
    with pytest.raises(ConfigError):
        room.read_space(["seed=1"])
