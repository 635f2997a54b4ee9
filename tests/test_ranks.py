"""What torchrun tells a process, and what several processes are refused for, each told to one process alone."""

import sys
from collections.abc import Callable

import pytest

import genseg_betty as gs
from genseg_betty.cli import run
from genseg_betty.device import _find_own_card
from genseg_betty.errors import UserError
from genseg_betty.joint_batch import require_even_shares
from genseg_betty.ranks import Rank, find_rank, name_process, quiet_unless_first
from methods.tiny import TINY

Tell = Callable[..., None]


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Sets what torchrun sets."""

    def set_environment(number: object = 0, count: object = 2, local: object = 0) -> None:
        told = {"RANK": number, "WORLD_SIZE": count, "LOCAL_RANK": local, "MASTER_ADDR": "here", "MASTER_PORT": 1}
        for name, value in told.items():
            monkeypatch.setenv(name, str(value))

    return set_environment


def test_a_rank_is_what_the_environment_tells(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_rank() == Rank(0, 1, 0)
    tell(3, 4, 1)
    assert find_rank() == Rank(3, 4, 1)
    assert name_process() == "genseg (process 4 of 4)"
    monkeypatch.delenv("MASTER_ADDR")  # a cluster's own RANK is not torchrun's
    assert find_rank() == Rank(0, 1, 0)
    assert name_process() == "genseg"


def test_an_environment_that_is_no_torchrun_s_is_told(tell: Tell) -> None:
    tell("first")
    with pytest.raises(UserError, match="RANK=first, WORLD_SIZE=2, LOCAL_RANK=0; expected three numbers"):
        find_rank()


def test_the_first_process_alone_prints(tell: Tell, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (0, 1):
        tell(number)
        with quiet_unless_first():
            print(f"out {number}")
            print(f"err {number}", file=sys.stderr)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("out 0\n", "err 0\n")


def test_each_process_has_a_card_of_its_own(tell: Tell) -> None:
    tell(5, 8, 1)
    assert _find_own_card(2) == 1
    with pytest.raises(UserError, match=r"process 2 of this machine finds 1 GPU.*--nproc-per-node 1"):
        _find_own_card(1)


@pytest.mark.parametrize(
    ("size", "count", "advice"),
    [(4, 3, "Set it to 3 or 6"), (2, 4, "Set it to 4,"), (5, 2, "Set it to 4 or 6")],
)
def test_a_batch_that_cannot_be_divided_is_refused(tell: Tell, size: int, count: int, advice: str) -> None:
    tell(count=count)
    with pytest.raises(UserError, match=f"batch_size={size} cannot be divided among {count} processes.*{advice}"):
        require_even_shares(size)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["method=unimatch", "unlabelled=5"], "method=unimatch trains in one process, and torchrun started 2"),
        (["method=genseg", "trainer.batch_size=3"], "trainer.batch_size=3 cannot be divided among 2 processes"),
    ],
)
def test_a_training_that_cannot_be_shared_is_refused_first(tell: Tell, tmp_path, overrides, reason: str) -> None:
    tell()
    with pytest.raises(UserError, match=reason):
        gs.train([*TINY, *overrides, f"run_dir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [["report", "runs"], ["-m", "seed=0,1"]])
def test_other_commands_are_refused(tell: Tell, command: list[str]) -> None:
    tell()
    with pytest.raises(UserError, match=f"genseg {command[0]} was started in 2 processes.*without it"):
        run(command)
