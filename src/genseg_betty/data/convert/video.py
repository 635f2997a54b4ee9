"""Single frames of AVI videos from strangers, by PyAV.

PyAV's wheels need nothing installed, and it reports damage where OpenCV's reader goes on.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from genseg_betty.data.formats import ImageError
from genseg_betty.errors import UserError

MAX_SIDE = 2048  # pixels; EchoNet-Dynamic's have 112, six untraced ones 1024
CODECS = ("mjpeg", "rawvideo", "ffv1", "mpeg4", "h264")  # published: mjpeg; no file reaches FFmpeg's other decoders
LIMITS = {"max_pixels": str(MAX_SIDE**2), "codec_whitelist": ",".join(CODECS)}
INSTALL = "pip install 'genseg-betty[video]'"


def require_pyav(dataset: str) -> None:
    """Raises UserError, with the command that installs it, where PyAV is not there."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise UserError(f"reading {dataset}'s videos needs PyAV, which is not installed: {INSTALL}") from error


def read_frames(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Index and [H, W] gray pixels of the wanted frames, in their order. Raises ImageError.

    A video that holds fewer frames than its header names is refused whole: where one was lost, all later ones would
    be taken for their neighbours.
    """
    try:
        if not path.is_file():
            raise ImageError("unreadable", "it is no file")
        with _open_video(path) as video:
            named = video.streams.video[0].frames
            held = sum(packet.size > 0 for packet in video.demux(video=0))
        if held < named:
            raise ImageError("unreadable", f"it holds {held} of the {named} frames that its header names")
        with _open_video(path) as video:
            yield from _decode_frames(video, wanted)
    except ImageError:
        raise
    except Exception as error:  # a damaged file makes FFmpeg raise a dozen different types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError("unreadable", f"{reason}; expected an AVI video coded as {' or '.join(CODECS)}") from error


@contextmanager
def _open_video(path: Path) -> Iterator[Any]:
    """Only the AVI reader is tried, on an open file: others would follow addresses that a file names."""
    import av

    with (
        path.open("rb") as file,
        av.open(file, mode="r", format="avi", options=LIMITS, metadata_errors="replace") as video,
    ):
        yield video


def _decode_frames(video: Any, wanted: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    context = video.streams.video[0].codec_context
    context.thread_count = 1
    context.options = {**LIMITS, "err_detect": "explode"}  # else a damaged frame comes back patched up
    for index, frame in enumerate(video.decode(video=0)):
        if max(frame.width, frame.height) > MAX_SIDE:
            raise ImageError("unreadable", f"{frame.width} x {frame.height} pixels; expected sides up to {MAX_SIDE}")
        if index in wanted:
            yield index, frame.to_ndarray(format="gray")
        if index >= max(wanted):
            return
