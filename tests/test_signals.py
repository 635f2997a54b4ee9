"""Signals: those that count, those that stay ignored, and two at once."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from genseg_betty.errors import Interrupted
from genseg_betty.signals import SIGNALS, interruptible, interruption


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """The handlers of a fresh process within a test, those of the test run after it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_the_promised_signals_are_listened_to() -> None:
    assert {number.name for number in SIGNALS} == {"SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_outside_a_loop_and_is_remembered_within(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, interruptible():
        send(number)
    assert caught.value.signal_number == number
    with interruptible(), interruption() as caught_within:
        send(number)
        assert caught_within.stopping == [number]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", SIGNALS)
def test_what_the_shell_ignores_stays_ignored(number: signal.Signals) -> None:
    """SIGHUP under nohup, SIGINT of a background job of a script."""
    signal.signal(number, signal.SIG_IGN)
    with interruptible(), interruption() as caught:
        send(number)
        assert not caught
        assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_a_launchers_handler_acts_at_once_outside_of_a_loop(number: signal.Signals) -> None:
    requeued: list[int] = []
    signal.signal(number, lambda number, frame: requeued.append(number))
    with interruptible():
        send(number)
    assert requeued == [number]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_within_a_loop_a_launchers_handler_waits_until_it_is_called(number: signal.Signals) -> None:
    """And where it returns the loop goes on: nothing asks for the end."""
    requeued: list[int] = []

    def handler(number: int, frame: object) -> None:
        requeued.append(number)

    signal.signal(number, handler)
    with interruptible(), interruption() as caught:
        send(number)
        assert (bool(caught), caught.stopping, requeued) == (True, [], [])
        caught.hand_over()
        assert (bool(caught), caught.stopping, requeued) == (False, [], [number])
        send(number)
    assert requeued == [number, number]  # nothing is left unsaid
    assert signal.getsignal(number) is handler


def test_a_hangup_right_after_a_term_cuts_nothing_short() -> None:
    with interruptible(), interruption() as caught:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            send(number)
        assert caught.stopping == [signal.SIGTERM, signal.SIGHUP, signal.SIGTERM]


def test_a_second_ctrl_c_acts_at_once() -> None:
    with interruptible(), interruption() as caught:
        send(signal.SIGINT)
        assert caught.stopping == [signal.SIGINT]
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


def test_other_threads_listen_to_nothing() -> None:
    seen: list[bool] = []

    def work() -> None:
        with interruptible(), interruption() as caught:
            seen.append(bool(caught))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
