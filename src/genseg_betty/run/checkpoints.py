"""Checkpoints of a Run: written whole with a checksum, and looked at before PyTorch reads them."""

from pathlib import Path
from typing import Any

import torch

from genseg_betty.errors import UserError
from genseg_betty.files import is_full
from genseg_betty.run.checksums import UNLIKE, Checksums, suggest_remedy
from genseg_betty.run.sound_checkpoint import require_plain_values, require_sound_checkpoint


def write_checkpoint(path: Path, state: dict[str, Any], sums: Checksums) -> None:
    """Write `state` (tensors, numbers, strings and containers of them) to `path`, and its checksum.

    Raises UserError where the disk is full; the file of before stays as it was.
    """
    path.parent.mkdir(exist_ok=True)
    try:
        sums.write(path, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        cause = error.__context__ if isinstance(error, RuntimeError) else error  # torch wraps what a file raises
        if not isinstance(cause, OSError) or not is_full(cause):
            raise
        raise UserError(
            f"the disk is full ({cause.strerror}): {path} cannot be written. What was written there "
            "before is whole; make room and give the same command again, and the training goes on from it."
        ) from error


def read_checkpoint(path: Path, sums: Checksums, map_location: Any, mmap: bool) -> dict[str, Any] | None:
    """What `path` holds, or None where there is no file. Raises UserError if it is damaged or not ours.

    With `mmap` tensors are read when they are looked at, and the checksum is not.
    """
    if not path.exists():
        return None

    # The file is looked at before PyTorch reads it, and what PyTorch has read is looked at again.
    try:
        require_sound_checkpoint(path, in_memory=not mmap)
        if not mmap and not sums.matches(path):
            raise ValueError(UNLIKE)
        state: dict[str, Any] = torch.load(path, map_location=map_location, mmap=mmap, weights_only=True)
        require_plain_values(state)
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # damage may show as any of them
        first_line = str(error).strip().split("\n")[0]
        reason = first_line or type(error).__name__
        raise UserError(
            f"the checkpoint {path} cannot be read ({reason}): the file is damaged, or not ours. {suggest_remedy(path)}"
        ) from error
    return state
