"""SIGINT and SIGTERM: within a loop a request that it answers when it is ready, elsewhere an exception."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from genseg_betty.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted where the program happens to be; within `interruption`, at a second signal."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def interruption() -> Iterator[list[int]]:
    """Yield a list that holds the number of a signal once it has come; a second one acts as usual.

    Outside the main thread, where Python lets nobody listen to signals, the list stays empty.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    usual = {number: signal.getsignal(number) for number in SIGNALS}

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        restore()

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        signal.signal(number, remember)
    try:
        yield caught
    finally:
        restore()
