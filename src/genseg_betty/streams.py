"""stdout and stderr that cannot fail: what is printed must not end the work that it is about.

A terminal goes away, a log's disk fills up, the reader of a pipe ends (`| head`), a stream is closed (`2>&-`), a
terminal cannot show a letter. Python raises an error for each, in the middle of a training. Here what cannot be written
is lost, and a letter that cannot be shown becomes its code.
"""

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

NOBODY_READS = (errno.EPIPE, errno.EBADF, errno.EIO)  # the reader has ended, there was none, its terminal is gone
MOST_COLUMNS = 10_000


class Lossy(io.RawIOBase):
    """A file descriptor to write to. What cannot be written is dropped, and `lost` keeps the last reason."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def write(self, content: "memoryview | bytes") -> int:  # type: ignore[override]
        """Write, or drop, all of `content`."""
        rest = memoryview(content).cast("B")
        length = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process that has this pipe too made it so
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = error
                break
        return length

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True


@contextmanager
def unfailing_streams() -> Iterator[None]:
    """Have the process's own stdout and stderr not fail within the block; streams that somebody put there stay."""
    _occupy_closed_descriptors()
    _forget_absurd_sizes()
    usual = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = _replace_stream(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _replace_stream(sys.stderr, 2)
    ours = sys.stdout, sys.stderr
    try:
        yield
    finally:
        for stream in ours:
            stream.flush()
        sys.stdout, sys.stderr = usual


def output_fault() -> str | None:
    """Why something printed on stdout was lost, although somebody wanted to read it; None where nothing was."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", None)
    lost = raw.lost if isinstance(raw, Lossy) else None
    if lost is None or lost.errno in NOBODY_READS:
        return None
    return os.strerror(lost.errno or 0)


def _replace_stream(stream: TextIO | None, descriptor: int) -> TextIO:
    """What replaces `stream`, which is None where it was closed when Python began."""
    encoding = "utf-8"
    at_once = True
    if isinstance(stream, io.TextIOWrapper):
        encoding = stream.encoding
        at_once = stream.line_buffering or stream.write_through
        with suppress(OSError):
            stream.flush()
    buffer = io.BufferedWriter(Lossy(descriptor))  # type: ignore[type-var]
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=at_once)


def _forget_absurd_sizes() -> None:
    """Forget a size of the terminal of 0, in which nothing is printed, or one that makes lines without end."""
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "")
        if size.isdecimal() and not 1 <= int(size[:9]) <= MOST_COLUMNS:
            del os.environ[name]


def _occupy_closed_descriptors() -> None:
    """Open /dev/null in place of closed streams, so that no file takes their number and gets what is printed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
