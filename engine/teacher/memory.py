"""Memory that a training process keeps, in large pages.

    memory.keep()

A step of training asks for some gigabytes in tensors of megabytes and gives them back. glibc hands
such memory to the system and asks for it again, one page of 4 kB at a time; and through pages of
that size a processor spends a tenth of a step on looking up where they lie. Kept, and in pages of
2 MB where the system has them on request, the same step takes less time and always the same.
"""

import ctypes
import platform
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
NEVER, LARGEST = -1, 2**31 - 1
HUGE_PAGES = 14  # MADV_HUGEPAGE of madvise(2)
PIECE, PIECES = 2**30, 4  # bytes of addresses reserved; memory is taken only where it is used
PAGE = 2**21


@cache
def keep() -> bool:
    """Keep freed memory for the rest of this process, and say whether that was possible.

    For processes of their own that train or read a whole cohort: what they have taken, others get
    back when they end. Where the C library is not glibc (macOS, Alpine) nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    library.mallopt(TRIM_THRESHOLD, NEVER)
    library.mallopt(MMAP_THRESHOLD, LARGEST)
    _reserve(library)
    return True


def _reserve(library: ctypes.CDLL) -> None:
    """Let the heap grow once and ask for large pages in it; a heap that grows later has small ones.

    A system without large pages, or without so many addresses, refuses; nothing is lost then.
    """
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    pieces = [piece for _ in range(PIECES) if (piece := library.malloc(PIECE))]
    for piece in pieces:
        start = -(-piece // PAGE) * PAGE
        library.madvise(start, (piece + PIECE - start) // PAGE * PAGE, HUGE_PAGES)
    for piece in reversed(pieces):
        library.free(piece)
