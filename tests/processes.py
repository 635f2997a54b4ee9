"""Functions that two processes make together, each told its place as torchrun tells it."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genseg_betty.joint_batch import joined_processes

COUNT = 2
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["genseg_betty.training.run_training", "genseg_betty.cli", "levels.toy"])


def run_in_processes(function: Callable[..., Any], folder: Path, *inputs: Any) -> list[Any]:
    """What `function(*inputs)` returns in each of the processes; tensors and containers of them."""
    port = find_free_port()
    processes = []
    for rank in range(COUNT):
        process = PROCESSES.Process(target=run_at_place, args=(rank, port, folder / f"{rank}.pt", function, inputs))
        process.start()
        processes.append(process)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * COUNT
    return [torch.load(folder / f"{rank}.pt") for rank in range(COUNT)]


def run_at_place(rank: int, port: int, file: Path, function: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
    tell_place(rank, port)
    with joined_processes(torch.device("cpu")):
        torch.save(function(*inputs), file)


def train_at_place(rank: int, port: int, overrides: list[str]) -> None:
    """The command line."""
    from genseg_betty.cli import main

    tell_place(rank, port)
    main(overrides)


def tell_place(rank: int, port: int) -> None:
    """Set what torchrun sets."""
    torch.set_num_threads(1)
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": COUNT, "MASTER_PORT": port}
    os.environ["MASTER_ADDR"] = "localhost"
    os.environ.update({name: str(value) for name, value in told.items()})


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port: int = free.getsockname()[1]
        return port
