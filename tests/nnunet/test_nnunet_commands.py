"""nnU-Net's commands as child processes, with scripts in their place: logged, followed, explained, ended."""

import stat
import time
from pathlib import Path

import pytest

from genseg_betty import train
from genseg_betty.errors import UserError
from genseg_betty.nnunet import commands
from genseg_betty.nnunet.commands import TRAIN, Commands, make_environment, require_nnunet


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is run in the place of nnUNetv2_train; a test writes it."""
    path = tmp_path / "bin" / TRAIN
    path.parent.mkdir()
    monkeypatch.setattr(commands, "_find_command", lambda name: str(path))
    return path


def write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_lines_are_followed_and_kept(script: Path, tmp_path: Path) -> None:
    write_script(script, 'echo "$1 $nnUNet_raw"\necho to stderr >&2\necho "$MORE"')
    lines: list[str] = []
    log = tmp_path / "run" / "nnunet.log"
    Commands(tmp_path / "run", log).run_command(TRAIN, ["first"], lines.append, {"MORE": "more"})
    assert lines == [f"first {tmp_path / 'run' / 'nnUNet_raw'}\n", "to stderr\n", "more\n"]
    assert log.read_text(encoding="utf-8") == f"$ {TRAIN} first\n" + "".join(lines)
    write_script(script, "echo again")
    Commands(tmp_path / "run", log).run_command(TRAIN, ["second"])
    assert log.read_text(encoding="utf-8").endswith(f"more\n$ {TRAIN} second\nagain\n")


def test_a_failure_is_told_with_the_last_lines_and_the_log(script: Path, tmp_path: Path) -> None:
    write_script(script, 'for i in $(seq 20); do echo "line $i"; done\nprintf "a\\033[2Jb\\n"\nexit 3')
    log = tmp_path / "nnunet.log"
    with pytest.raises(UserError) as caught:
        Commands(tmp_path, log).run_command(TRAIN, [])
    told = str(caught.value)
    assert told.startswith(f"{TRAIN} failed (exit status 3). Its last lines:\n  line 10\n")
    assert "line 20\n  a\\x1b[2Jb\n" in told
    assert f"All of its output: {log}." in told


def test_a_child_that_was_killed_is_told(script: Path, tmp_path: Path) -> None:
    write_script(script, "kill -9 $$")
    with pytest.raises(UserError, match=r"was ended by signal 9.*\(it printed nothing\)|was ended by signal 9"):
        Commands(tmp_path, tmp_path / "log").run_command(TRAIN, [])


@pytest.mark.parametrize("trap", ["", "trap '' TERM"])
def test_workers_end_with_the_child(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """What is raised while the child runs, such as an interruption, ends it and its workers, stubborn ones too."""
    monkeypatch.setattr(commands, "PATIENCE", 0.3)
    write_script(script, f"{trap}\nsleep 60 &\necho $!\necho $$\nwait\nsleep 60")
    seen: list[int] = []

    def follow(line: str) -> None:
        seen.append(int(line))
        if len(seen) == 2:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Commands(tmp_path, tmp_path / "log").run_command(TRAIN, [], follow)
    assert time.monotonic() - began < 20
    assert not [number for number in seen if is_running(number)]


def is_running(number: int) -> bool:
    """Whether a process is there and has not ended; it may take a moment to."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True


def test_few_workers_unless_the_user_says_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    monkeypatch.setenv("nnUNet_def_n_proc", "7")
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    found = make_environment(tmp_path)
    assert (found["nnUNet_n_proc_DA"], found["nnUNet_def_n_proc"]) == ("1", "7")
    assert found["nnUNet_raw"] == str(tmp_path / "nnUNet_raw")  # the Run's own folders, whatever the user's are
    trainers = Path(found["nnUNet_extTrainer"])
    assert [path.name for path in trainers.glob("*.py")] == ["equal_updates.py"]


def test_a_missing_nnunet_is_told_before_any_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> str:
        raise commands.PackageNotFoundError(name)

    monkeypatch.setattr(commands, "version", missing)
    run = tmp_path / "run"
    empty = ["dataset=folder", f"dataset.root={tmp_path}", f"run_dir={run}"]
    with pytest.raises(UserError, match=r"it is not installed.*\n.*make setup-nnunet.*\nor\n.*genseg-betty\[nnunet\]"):
        train(["method=nnunet", *empty])
    assert not run.exists()


def test_commands_that_are_not_found_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "version", lambda name: "2.8.1")
    monkeypatch.setattr(commands, "_find_command", lambda name: None)
    with pytest.raises(UserError, match=r"installed \(2\.8\.1\), but its commands are not found"):
        require_nnunet()
    monkeypatch.setattr(commands, "_find_command", lambda name: f"/bin/{name}")
    assert require_nnunet() == "2.8.1"
