"""SIGINT and SIGTERM: within a loop a request that it answers when it is ready, elsewhere an exception.

Outside the main thread Python lets nobody listen to signals; there both contexts do nothing.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from genseg_betty.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted where the program happens to be; within `interruption`, at a second signal."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(interrupt):
        yield


@contextmanager
def interruption() -> Iterator[list[int]]:
    """Yield a list that holds the number of a signal once it has come; a second one acts as usual."""
    caught: list[int] = []
    usual = _current()

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        _install(usual)

    with _handled_by(remember):
        yield caught


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    usual = _current()
    _install(dict.fromkeys(usual, handler))
    try:
        yield
    finally:
        _install(usual)


def _current() -> Mapping[signal.Signals, Any]:
    listening = threading.current_thread() is threading.main_thread()
    return {number: signal.getsignal(number) for number in SIGNALS} if listening else {}


def _install(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
