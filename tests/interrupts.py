"""Ctrl-C and a closed terminal for the processes that tests start."""

import signal


def heed_interrupts() -> None:
    """Let processes that are started from here feel both: a shell makes what it starts by & or nohup deaf to them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
