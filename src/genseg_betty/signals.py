"""SIGINT, SIGTERM, SIGHUP, SIGUSR2: within a loop a request that it answers when it is ready, elsewhere an exception.

A signal that is ignored when the work begins stays ignored: SIGHUP under `nohup`, SIGINT of a background job of a
script. A handler that a launcher set for SIGTERM, SIGHUP or SIGUSR2 keeps its say: within a loop it is called once the
checkpoint is written, and where it returns the work goes on; elsewhere it acts at once. Outside the main thread Python
lets nobody listen to signals; there both contexts do nothing.
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

    with _handled_by(interrupt, _find_our_signals()):
        yield


class Caught:
    """The signals that came within `interruption`.

    Attributes:
        stopping: those that ask for the end, in their order.
    """

    def __init__(self, launchers: Mapping[signal.Signals, Any]) -> None:
        self.stopping: list[int] = []
        self._launchers = launchers
        self._waiting: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.stopping or self._waiting)

    def keep(self, number: int) -> None:
        """Remember a signal."""
        kept = self._waiting if number in self._launchers else self.stopping
        kept.append(number)

    def hand_over(self) -> None:
        """Call a launcher's handlers of the signals that wait for them. They may end the process, or return.

        submitit's handler of SIGUSR2 queues the job anew and exits; that of SIGTERM returns.
        """
        waiting, self._waiting = self._waiting, []
        for number in waiting:
            self._launchers[signal.Signals(number)](number, None)


@contextmanager
def interruption() -> Iterator[Caught]:
    """Yield what holds the signals that have come.

    A second SIGINT acts as usual, for users in a hurry. Other signals are only remembered: whatever ends a session or a
    machine sends SIGTERM and SIGHUP together, and the second must not cut short what the first one asked for. What a
    launcher listens to is handed over to it at the end at the latest.
    """
    usual = _find_our_signals()
    launchers = _find_launchers_signals()
    caught = Caught(launchers)

    def remember(number: int) -> None:
        caught.keep(number)
        if number == signal.SIGINT:
            _install_handlers({signal.SIGINT: usual[signal.SIGINT]})

    with _handled_by(remember, {**usual, **launchers}):
        yield caught
    caught.hand_over()


@contextmanager
def _handled_by(act: Callable[[int], None], usual: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Listen to the signals of `usual`, whose handlers are put back at the end."""
    _install_handlers(dict.fromkeys(usual, Handler(act)))
    try:
        yield
    finally:
        _install_handlers(usual)


def _find_our_signals() -> dict[signal.Signals, Any]:
    """The signals that are ours alone to listen to, each with its present handler."""
    handlers = _find_handlers()
    return {number: handler for number, handler in handlers.items() if _is_ours(number, handler)}


def _find_launchers_signals() -> dict[signal.Signals, Any]:
    """The signals that a launcher set a handler of its own for."""
    handlers = _find_handlers()
    return {number: handler for number, handler in handlers.items() if not _is_ours(number, handler)}


def _find_handlers() -> dict[signal.Signals, Any]:
    """The handlers of all signals that somebody may listen to here."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    closed = (signal.SIG_IGN, None)  # None: set by code that is not Python's
    return {number: handler for number, handler in handlers.items() if handler not in closed}


def _is_ours(number: signal.Signals, handler: Any) -> bool:
    return number == signal.SIGINT or handler == signal.SIG_DFL or isinstance(handler, Handler)


def _install_handlers(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
