"""Signals raise where they hit, or where they are asked for."""

import os
import signal
import sys
import threading

import pytest

from orchestrator.system.signals import Interruption


@pytest.fixture
def interruption():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup themselves
    made = Interruption()
    made.watch()
    yield made
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_where_it_hits(interruption, number):
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_nohup_stays_what_it_is():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Interruption().watch()
    os.kill(os.getpid(), signal.SIGHUP)
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_with_patience_it_waits_until_it_is_asked_for(interruption):
    interruption.ask()
    with interruption.patience():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            interruption.ask()


def test_a_thread_is_waited_for_in_peace(interruption):
    """What hung: a signal amid the waiting, while the thread that is waited for tells its end."""
    with interruption.patience():
        for _ in range(200):
            done = threading.Event()
            thread = threading.Thread(target=done.set)
            thread.start()
            os.kill(os.getpid(), signal.SIGINT)
            assert done.wait(10)
            thread.join(10)
            assert not thread.is_alive()


def test_a_signal_counts_although_python_drops_its_exception(interruption, monkeypatch):
    """As in the callback that ends every import: nothing can be raised there."""

    class Dropped:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    Dropped()
    with pytest.raises(KeyboardInterrupt):
        interruption.ask()
