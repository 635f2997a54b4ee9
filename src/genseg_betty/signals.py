"""SIGINT, SIGTERM, SIGHUP, SIGUSR2: within a loop a request that it answers when it is ready, elsewhere an exception.

A signal that is ignored when the work begins stays ignored: SIGHUP under `nohup`, SIGINT of a background job of a
script. So does a handler that a launcher set for SIGTERM, SIGHUP or SIGUSR2. Outside the main thread Python lets nobody
listen to signals; there both contexts do nothing.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from genseg_betty.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class Handler:
    """A handler of ours, told from those of others by its type."""

    def __init__(self, act: Callable[[int], None]) -> None:
        self._act = act

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._act(number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted at a signal, wherever the program is; within `interruption` at a second SIGINT alone."""

    def interrupt(number: int) -> None:
        raise Interrupted(number)

    with _handled_by(interrupt):
        yield


@contextmanager
def interruption() -> Iterator[list[int]]:
    """Yield a list that holds the number of a signal once it has come.

    A second SIGINT acts as usual, for users in a hurry. Other signals only join the list: whatever ends a session or a
    machine sends SIGTERM and SIGHUP together, and the second must not cut short what the first one asked for.
    """
    caught: list[int] = []
    usual = _find_our_signals()

    def remember(number: int) -> None:
        caught.append(number)
        if number == signal.SIGINT:
            _install_handlers({signal.SIGINT: usual[signal.SIGINT]})

    with _handled_by(remember):
        yield caught


@contextmanager
def _handled_by(act: Callable[[int], None]) -> Iterator[None]:
    usual = _find_our_signals()
    _install_handlers(dict.fromkeys(usual, Handler(act)))
    try:
        yield
    finally:
        _install_handlers(usual)


def _find_our_signals() -> Mapping[signal.Signals, Any]:
    """The signals that are ours to listen to, each with its present handler."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    return {number: handler for number, handler in handlers.items() if _is_ours(number, handler)}


def _is_ours(number: signal.Signals, handler: Any) -> bool:
    if handler in (signal.SIG_IGN, None):  # None: set by code that is not Python's
        return False
    return number == signal.SIGINT or handler == signal.SIG_DFL or isinstance(handler, Handler)


def _install_handlers(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
