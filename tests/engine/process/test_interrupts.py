"""Signals that end a command do so as an interrupt, unless they are ignored."""

import os
import signal

import pytest

from encore_ray.engine.process.interrupts import signals_interrupt
from encore_ray.errors import HungUp, Terminated


@pytest.mark.parametrize(("number", "kind", "code"), [(signal.SIGTERM, Terminated, 143), (signal.SIGHUP, HungUp, 129)])
def test_a_signal_is_an_interrupt_with_its_exit_code(number: signal.Signals, kind: type, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as caught, signals_interrupt():
        os.kill(os.getpid(), number)
    assert type(caught.value) is kind and kind.exit_code == code
    assert signal.getsignal(number) is before


def test_an_interrupt_that_ray_raises_in_its_place_leaves_as_the_signal_that_came() -> None:
    def wait_as_ray_does() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None

    with pytest.raises(Terminated), signals_interrupt():
        wait_as_ray_does()
    with pytest.raises(KeyboardInterrupt) as caught, signals_interrupt():
        raise KeyboardInterrupt
    assert type(caught.value) is KeyboardInterrupt


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
