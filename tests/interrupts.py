"""Ctrl-C for the processes that tests start."""

import signal


def heed_interrupts() -> None:
    """Let processes that are started from here feel Ctrl-C: a shell makes what it starts by & deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
