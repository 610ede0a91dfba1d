"""Tuning of glibc's malloc for a process that computes on a CPU: freed memory stays for the next step."""

import ctypes
from functools import cache

# mallopt's names for its parameters, of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


@cache
def keep_freed_memory() -> None:
    """Let glibc keep up to a gigabyte of freed memory; nothing happens where the C library is another one.

    Each layer of a model takes and frees the same megabytes, each rule of a table of scores the same arrays. By default
    they go back to the system at once, and come back as a page fault for every 4 KiB: a tenth of a float32 forward
    pass, a twentieth of measuring scores, more on virtual machines.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, 1 << 30)
        mallopt(_TOP_PAD, 64 << 20)
