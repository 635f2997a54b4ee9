"""Whether a checkpoint may be loaded, found out from what the file declares, before torch reads any of it.

torch.save writes a zip whose entries are stored as they are: a pickle, data.pkl, and the values of each tensor. A
stranger's file may declare more than memory holds, pack little into much, or name one entry twice so that two readers
see different files. `torch.load(weights_only=True)` refuses code, but takes whatever memory it is asked for.
"""

import pickletools
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from genseg_betty.device import free_memory
from genseg_betty.errors import UserError
from genseg_betty.files import require_regular

MAX_DIRECTORY = 2**24  # bytes of the list of entries: 100,000 of them
MAX_PICKLE = 2**24  # bytes of data.pkl: a few hundred for each tensor
MAX_VALUES = 2_000_000  # in all lists and mappings
MAX_DEPTH = 64  # of lists and mappings in each other
END = struct.Struct("<4s4H2LH")  # of a zip: ends with the size and the place of the list of entries
END_64, LOCATOR_64 = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
ALL_ONES = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)  # count, length and place, where they do not fit in fewer bits
FOREIGN = "torch.save writes no such file"
# What our states are made of: tensors, weights, ordered mappings, shapes, and types of numbers.
MADE_OF = re.compile(
    r"torch \w+Storage|torch\._utils _rebuild_(tensor_v2|parameter)|torch\.storage UntypedStorage"
    r"|collections OrderedDict|torch Size|torch (b?float|u?int|bool)\w*"
)


def require_sound_checkpoint(path: Path, in_memory: bool = True) -> None:
    """Raise ValueError for a file that is none of torch.save's, or holds more than it says.

    `in_memory`: its tensors are to be read at once; raises UserError if there is not as much memory. Raises OSError.
    """
    require_regular(path)
    with path.open("rb") as file:
        begin = _directory(file)
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                pickled = _pickled(entries, begin)
                _require_plain_pickle(archive.read(pickled))
        except (zipfile.BadZipFile, struct.error, IndexError, NotImplementedError) as error:
            raise ValueError(f"{error}; {FOREIGN}") from error
    declared = sum(entry.file_size for entry in entries)
    if in_memory and declared > free_memory("cpu"):
        raise UserError(
            f"the checkpoint {path} declares {declared / 2**30:.1f} GiB, and {free_memory('cpu') / 2**30:.1f} GiB of "
            "memory are free: end other programs or use a larger machine, if the Run comes from where you trust"
        )


def require_plain_values(state: Any) -> None:
    """Raise ValueError for a loaded checkpoint that holds other than numbers, text, tensors, and containers of them.

    A tensor must have as many values as it takes memory: one value, repeated by a step of 0, can claim any size.
    """
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, expected a mapping")
    row: list[Any] = [state]
    seen = 0
    for _ in range(MAX_DEPTH):
        seen += len(row)
        if seen > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES:,} values beside its tensors")
        inner: list[Any] = []
        for value in row:
            inner += _parts(value)
            if len(inner) > MAX_VALUES:
                break
        if not inner:
            return
        row = inner
    raise ValueError(f"its lists and mappings lie more than {MAX_DEPTH} deep in each other")


def _directory(file: IO[bytes]) -> int:
    """Where the list of entries begins. Raises ValueError unless it ends where the zip's end says, once, at the end.

    Readers that look for it in different ways then find the same one.
    """
    size = file.seek(0, 2)
    tail = min(size, END.size + LOCATOR_64.size + END_64.size)
    file.seek(size - tail)
    last = file.read(tail)
    file.seek(0)
    if file.read(4) != b"PK\3\4" or len(last) < END.size or not last[-END.size :].startswith(b"PK\5\6"):
        raise ValueError("it is cut short, or no file of torch.save in its present format")
    *_, count, length, start, comment = END.unpack(last[-END.size :])
    end = size - END.size
    locator = last[-END.size - LOCATOR_64.size : -END.size]
    if len(last) == tail and locator.startswith(b"PK\6\7"):
        end -= LOCATOR_64.size + END_64.size
        length, start = _long_end(last, locator, end, (count, length, start))
    if comment or start + length != end:
        raise ValueError(f"its list of entries does not end where it should; {FOREIGN}")
    if length > MAX_DIRECTORY:
        raise ValueError(f"its list of entries has {length:,} bytes, more than {MAX_DIRECTORY:,}; {FOREIGN}")
    return start


def _long_end(last: bytes, locator: bytes, end: int, short: tuple[int, int, int]) -> tuple[int, int]:
    """Length and place of the list of entries, in 64 bits, as `last` says, which lies at `end`.

    Raises ValueError where that is not what is said in `short` (count, length and place) in fewer bits.
    """
    *_, place, _ = LOCATOR_64.unpack(locator)
    *_, count, length, start = END_64.unpack(last[: END_64.size])
    long = (count, length, start)
    agree = all(narrow in (wide, ones) for narrow, wide, ones in zip(short, long, ALL_ONES, strict=True))
    if not agree or place != end or not last.startswith(b"PK\6\6"):
        raise ValueError(f"its end contradicts itself; {FOREIGN}")
    return length, start


def _pickled(entries: Sequence[zipfile.ZipInfo], begin: int) -> zipfile.ZipInfo:
    """The entry data.pkl. Raises ValueError for entries that are packed, named twice, or overlap."""
    folder = entries[0].filename.partition("/")[0] if entries else ""
    names = {entry.filename.lower(): entry for entry in entries}
    foreign = [entry.filename for entry in entries if not _is_plainly_named(entry, f"{folder}/")]
    if foreign or len(names) < len(entries):
        raise ValueError(f"entries are named twice or oddly ({', '.join(foreign[:3]) or folder}); {FOREIGN}")
    packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED or e.file_size != e.compress_size]
    if packed:
        raise ValueError(f"{', '.join(packed[:3])} unpacks to another size than it has; {FOREIGN}")
    if sum(entry.file_size for entry in entries) > begin:
        raise ValueError(f"its entries overlap: together they declare more than the file holds; {FOREIGN}")
    pickled = names.get(f"{folder}/data.pkl".lower())
    if pickled is None or pickled.file_size > MAX_PICKLE:
        found = "no data.pkl" if pickled is None else f"a data.pkl of {pickled.file_size:,} bytes"
        raise ValueError(f"it has {found}, expected one of at most {MAX_PICKLE:,}")
    return pickled


def _is_plainly_named(entry: zipfile.ZipInfo, folder: str) -> bool:
    name = entry.orig_filename
    return name == entry.filename and name.isascii() and name.startswith(folder) and not entry.flag_bits & 1


def _require_plain_pickle(content: bytes) -> None:
    """Raise ValueError for a pickle that names more than our states are made of. Nothing of it is carried out."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID"):
            raise ValueError(f"its pickle holds {opcode.name}, which {FOREIGN.replace('no such file', 'not')}")
        if opcode.name == "GLOBAL" and not MADE_OF.fullmatch(str(argument)):
            name = str(argument).replace(" ", ".")
            raise ValueError(f"it asks for {name}, expected numbers, text, tensors and containers of them")


def _parts(value: Any) -> Sequence[Any]:
    """What a container holds. Raises ValueError for all that is no plain value."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Tensor):
        sound = value.layout == torch.strided and value.device.type != "meta"
        if not sound or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"a tensor claims the shape {list(value.shape)}, for which it has no values")
    elif not isinstance(value, str | int | float | torch.dtype | None):
        raise ValueError(f"it holds a {type(value).__name__}, expected numbers, text, tensors and containers of them")
    return ()
