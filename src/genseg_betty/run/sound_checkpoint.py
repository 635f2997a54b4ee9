"""Whether a checkpoint may be loaded, found out from what the file declares, before torch reads any of it.

torch.save writes a zip: a pickle, data.pkl, and the values of each tensor. A stranger's file may declare more than
memory holds. `torch.load(weights_only=True)` refuses code, but takes whatever memory it is asked for.
"""

import pickletools
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genseg_betty.device import free_memory, write_gib
from genseg_betty.errors import UserError
from genseg_betty.files import require_regular
from genseg_betty.run.zip_entries import FOREIGN, find_directory, find_pickle

MAX_VALUES = 2_000_000
"""In all lists and mappings."""
MAX_DEPTH = 64
"""Of lists and mappings in each other."""
EXPECTED = "expected numbers, text, tensors and containers of them"
# What our states are made of: tensors, weights, ordered mappings, shapes, and types of numbers.
MADE_OF = re.compile(
    r"torch \w+Storage|torch\._utils _rebuild_(tensor_v2|parameter)|torch\.storage UntypedStorage"
    r"|collections OrderedDict|torch Size|torch (b?float|u?int|bool)\w*"
)
NOT_WRITTEN = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID")
"""Operations of a pickle that name objects in other ways than torch.save does."""


def require_sound_checkpoint(path: Path, in_memory: bool = True) -> None:
    """Raise ValueError for a file that is none of torch.save's, or holds more than it says.

    `in_memory`: its tensors are to be read at once; raises UserError if there is not as much memory. Raises OSError.
    """
    require_regular(path)
    with path.open("rb") as file:
        begin = find_directory(file)
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                pickled = find_pickle(entries, begin)
                _require_plain_pickle(archive.read(pickled))
        except (zipfile.BadZipFile, struct.error, IndexError, NotImplementedError) as error:
            raise ValueError(f"{error}; {FOREIGN}") from error
    if in_memory:
        declared = sum(entry.file_size for entry in entries)
        _require_memory(path, declared)


def _require_memory(path: Path, declared: int) -> None:
    """Raise UserError where fewer bytes of memory are free than a checkpoint declares."""
    free = free_memory("cpu")
    if declared > free:
        raise UserError(
            f"the checkpoint {path} declares {write_gib(declared)}, and {write_gib(free)} of "
            "memory are free: end other programs or use a larger machine, if the Run comes from where you trust"
        )


def _require_plain_pickle(content: bytes) -> None:
    """Raise ValueError for a pickle that names more than our states are made of. Nothing of it is carried out."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in NOT_WRITTEN:
            raise ValueError(f"its pickle holds {opcode.name}, which torch.save writes not")
        if opcode.name == "GLOBAL" and not MADE_OF.fullmatch(str(argument)):
            name = str(argument).replace(" ", ".")
            raise ValueError(f"it asks for {name}, {EXPECTED}")


def require_plain_values(state: Any) -> None:
    """Raise ValueError for a loaded checkpoint that holds other than numbers, text, tensors, and containers of them.

    A tensor must have as many values as it takes memory: one value, repeated by a step of 0, can claim any size.
    """
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, expected a mapping")
    # Row by row of the tree: a row is what the containers of the row above hold.
    row: list[Any] = [state]
    seen = 0
    for _ in range(MAX_DEPTH):
        seen += len(row)
        if seen > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES:,} values beside its tensors")
        row = _open_containers(row)
        if not row:
            return
    raise ValueError(f"its lists and mappings lie more than {MAX_DEPTH} deep in each other")


def _open_containers(row: Sequence[Any]) -> list[Any]:
    """What the containers among these values hold; no more of it once that is too much."""
    inner: list[Any] = []
    for value in row:
        inner += _open_container(value)
        if len(inner) > MAX_VALUES:
            break
    return inner


def _open_container(value: Any) -> Sequence[Any]:
    """What a container holds. Raises ValueError for all that is no plain value."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Tensor):
        _require_own_values(value)
    elif not isinstance(value, str | int | float | torch.dtype | None):
        raise ValueError(f"it holds a {type(value).__name__}, {EXPECTED}")
    return ()


def _require_own_values(tensor: Tensor) -> None:
    """Raise ValueError for a tensor that takes less memory than its values do."""
    is_plain = tensor.layout == torch.strided and tensor.device.type != "meta"
    claimed = tensor.numel() * tensor.element_size()
    if not is_plain or claimed > tensor.untyped_storage().nbytes():
        raise ValueError(f"a tensor claims the shape {list(tensor.shape)}, for which it has no values")
