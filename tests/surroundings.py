"""Commands in a process of their own that is killed while it writes, or whose streams take nothing."""

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genseg_betty import files
from genseg_betty.cli import main
from genseg_betty.errors import UserError
from genseg_betty.lock import Lock
from genseg_betty.run import Run

# A server that has imported everything once forks each process: without its start-up time.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["surroundings", "genseg_betty.training.run_training", "genseg_betty.inference"])
KILLED = -signal.SIGKILL
MOMENTS = ("within", "after")


def call(work: Callable[..., object], *arguments: Any) -> int:
    """The exit status of `work` in a process of its own; minus the number of the signal that ended it."""
    process = PROCESSES.Process(target=work, args=arguments)
    process.start()
    process.join(timeout=120)
    assert process.exitcode is not None
    return process.exitcode


def killed(moment: str, number: int, work: Callable[..., object], *arguments: Any) -> None:
    """Do the work, killed within the `number`-th file, half of it written, or after it has got its name."""
    torch.set_num_threads(1)
    os.environ["GENSEG_CACHE"] = "off"
    replace, count = os.replace, 0

    def rename(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == number and moment == "within":
            os.truncate(source, os.path.getsize(source) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    files.os.replace = rename
    work(*arguments)


def killed_by_length(bytes: int, work: Callable[..., object], *arguments: Any) -> None:
    """Do the work, killed by the system when a file that it writes grows beyond so many bytes."""
    os.environ["GENSEG_CACHE"] = "off"
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, bytes))
    work(*arguments)


def killed_at_deletion(number: int, path: Path, config: dict[str, Any]) -> None:
    """Start a Run over, killed after the `number`-th file is deleted."""
    unlink, count = Path.unlink, 0

    def delete(file: Path, missing_ok: bool = False) -> None:
        nonlocal count
        unlink(file, missing_ok)
        count += file.suffix in (".pt", ".json", ".csv", ".yaml")
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.unlink = delete  # type: ignore[method-assign]
    Run.start(path, config, "restart").close()


def with_streams(kind: str, words: list[str]) -> None:
    """The command line with stdout and stderr "closed", "full", or a pipe that is "broken", as a shell starts it."""
    torch.set_num_threads(1)
    read, target = os.open(os.devnull, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)
    if kind == "broken":
        read, target = os.pipe()
    os.close(read)
    for descriptor in (1, 2):
        os.dup2(target, descriptor)
        if kind == "closed":
            os.close(descriptor)
    streams = [None if kind == "closed" else os.fdopen(number, "w", closefd=False) for number in (1, 2)]
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
    main(words)


def write_a_run(path: Path) -> None:
    """All that a training writes into its directory, in its order."""
    with Run.start(path, {"seed": 0, "trainer": {"iterations": 2}}) as run:
        run.status("running", message="training")
        run.write_json("splits.json", {"train": ["a"], "validation": ["b"], "test": ["c"]})
        for step in (1, 2):
            run.drop_metrics_after(step - 1)
            run.log(step, "joint", {"segmenter": 1 / step})
            run.save_checkpoint("last", {"step": step, "weights": torch.full((1000,), float(step))})
            run.status("running", step=step)
        run.write_test("folder", [{"id": "c", "dice": 0.5}])
        run.write_json("results.json", {"iterations": 2, "finished": "now"})
        run.status("finished", step=2, message="done")


def contend(paths: list[Path], barrier: Any, answers: Any) -> None:
    """Try to get each lock at the same time as the others; answers with 1 for each that was won."""
    won = []
    for path in paths:
        lock = Lock(path)
        barrier.wait()
        try:
            lock.acquire()
            won.append(1)
        except UserError:
            won.append(0)
        barrier.wait()
        lock.release()
    answers.put(won)
