"""Freed memory is kept by the process: every step needs as much again."""

from __future__ import annotations

import ctypes
from functools import cache

# mallopt's names, from glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory, on which each step's tensors are made again, rather than return it.

    Returned, each page is zeroed by the kernel when it is next touched, which took a quarter of the step of a VGG-11
    on spectrograms; of a stack's step, a tenth at most.

    Returns:
        Whether the C library here can be told so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, 2**31 - 1), mallopt(_TOP_PAD, 2**26)])
