"""Main memory between tensors: glibc's allocator, set for the few large tensors that a training step asks for again.

By itself glibc soon gives freed memory back, and the kernel fills the pages of the next tensors with zeros again:
half of the processor time of a joint step at 256 x 256 pixels. Kept memory, on the other hand, comes in pieces that
the next, larger tensors may not fit into. So the largest tensors get pages of their own unless a kept piece fits, and
the pages of free pieces are given back at the few places where a step holds most.

Nothing here has an effect where there is no glibc.
"""

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
LARGEST = 2**25  # bytes from which a tensor gets pages of its own; glibc takes no more
SPARE = 2**30  # bytes


FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"  # of `struct mallinfo2`


class _Statistics(ctypes.Structure):
    """`struct mallinfo2`; of its fields only `fordblks`, the bytes in free pieces, is of interest."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS.split()]


def reuse_freed() -> None:
    """Keep the memory that tensors free for the next ones; once for the whole process."""
    library = _find_glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def return_freed() -> None:
    """Give the pages of free pieces back to the system if they make up more than `SPARE`."""
    library = _find_glibc()
    if library is None:
        return
    statistics = library.mallinfo2()
    if statistics.fordblks > SPARE:
        library.malloc_trim(0)


@cache
def _find_glibc() -> ctypes.CDLL | None:
    """The C library if it is glibc 2.33 or later, which has all functions that are used here."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    for name in ("mallopt", "malloc_trim", "mallinfo2"):
        if not hasattr(library, name):
            return None
    library.mallinfo2.restype = _Statistics
    return library
