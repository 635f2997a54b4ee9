"""What is on its way to a dataset lies in `<root>/.download`, where .fetched.json says what has arrived.

One entry after the other is downloaded, checked against the publisher's checksum, put in place and recorded.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from genseg_betty.data.fetch.archives import RAR_TOOLS, DamagedArchive
from genseg_betty.data.fetch.download import CHUNK, download_file, read_json
from genseg_betty.data.fetch.entries import DIGITS, Entry
from genseg_betty.data.fetch.screen import Screen
from genseg_betty.data.fetch.server import suggest_browser
from genseg_betty.data.fetch.unpack import move_in, unpack_archive
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, to_json
from genseg_betty.lock import Lock

WORKPLACE = ".download"  # below the root; names with a leading dot are no part of a dataset
RECORD = ".fetched.json"


@contextmanager
def open_workplace(name: str, root: Path) -> Iterator[None]:
    """Make the folder for what is on its way, and keep it for one process at a time."""
    workplace = root / WORKPLACE
    if workplace.is_symlink():
        raise UserError(f"{workplace} is a link, and nothing is written through links; remove it")
    try:
        workplace.mkdir(parents=True, exist_ok=True)
        lock = Lock(workplace / ".lock")
        try:
            lock.acquire()
        except UserError as error:
            raise UserError(
                f"another process is bringing dataset {name} to {root}. Wait for it; "
                f"if you are sure that it has ended, delete {lock.path}"
            ) from error
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"dataset {name}: cannot write below {root}: {reason}") from error


def _read_record(workplace: Path) -> list[dict[str, Any]]:
    files = read_json(workplace / RECORD).get("files") or []
    return [item for item in files if isinstance(item, dict)]


def find_missing(entries: Sequence[Entry], workplace: Path) -> list[Entry]:
    """The entries that the record does not hold with the same address, place and stated checksums."""
    record = _read_record(workplace)
    absent = []
    for entry in entries:
        arrived = any(_is_same(item, entry) for item in record)
        if not arrived:
            absent.append(entry)
    return absent


def _is_same(item: Mapping[str, Any], entry: Entry) -> bool:
    """Whether an item of the record is this entry."""
    for key in ("url", "unpack", "into"):
        if item.get(key) != getattr(entry, key):
            return False
    for kind in DIGITS:
        stated = getattr(entry, kind)
        if stated not in (None, item.get(kind)):
            return False
    return True


def bring_entry(entry: Entry, root: Path, screen: Screen) -> None:
    """Download, check, put in place and record one entry."""
    workplace = root / WORKPLACE
    path = workplace / entry.file
    into = root / entry.into
    if not into.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{into} is a link that leads out of {root}; remove it")
    if not path.exists():
        download_file(entry, path, screen)
    sums = verify_file(entry, path, screen)
    if entry.unpack == "none":
        move_in(workplace, [entry.file], into)
        is_rar = entry.file.lower().endswith((".rar", ".7z"))
        hint = f"; {RAR_TOOLS}" if is_rar else ""
        screen.print_message(f"{entry.file}: put into {into}{hint}")
    else:
        _unpack_entry(entry, path, into, screen)
    arrived = {"url": entry.url, "unpack": entry.unpack, "into": entry.into, **sums}
    record = {"files": [*_read_record(workplace), arrived]}
    atomic_write(workplace / RECORD, to_json(record).encode())


def _unpack_entry(entry: Entry, path: Path, into: Path, screen: Screen) -> None:
    """Unpack an archive and remove it; a damaged one is removed too, unless its checksum is the publisher's."""
    tell = partial(screen.step, f"unpacking {entry.file}")
    scratch = path.with_name(".unpacking")
    try:
        count = unpack_archive(path, entry.unpack, into, scratch, tell)
    except DamagedArchive as error:
        if entry.sha256 or entry.md5:  # it is what the publisher has: another download would bring the same
            raise
        path.unlink()
        removed = "It was removed, so that the next try starts anew"
        raise UserError(f"{error}. {removed}. {suggest_browser(path)}") from error
    path.unlink()
    screen.print_message(f"{entry.file}: {count} files unpacked to {into}")


def verify_file(entry: Entry, path: Path, screen: Screen) -> dict[str, str]:
    """The checksums of a file. Where these, or its size, are not as stated it is removed: raises UserError."""
    size = path.stat().st_size
    sums = _sum_file(entry, path, size, screen)
    wrong = []
    for key, value in {**sums, "size": size}.items():
        expected = getattr(entry, key)
        if expected is not None and value != expected:
            wrong.append(f"  {key}: found {value}, expected {expected}")
    if wrong:
        path.unlink()
        lines = [f"{entry.url}: the file that came is not the one expected", *wrong, f"{path} was removed, "]
        raise UserError(
            "\n".join(lines)
            + "so that the next try starts anew. If the same comes out again, the publisher has changed the file: "
            "look at what is new, then mend the dataset's YAML"
        )
    if all(getattr(entry, kind) is None for kind in DIGITS):
        screen.print_message(f"{entry.file}: no checksum is stated for it; its sha256 is {sums['sha256']}")
    return sums


def _sum_file(entry: Entry, path: Path, size: int, screen: Screen) -> dict[str, str]:
    """The checksum of each kind, from one reading of the file."""
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in DIGITS}
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for each in hashes.values():
                each.update(chunk)
            screen.step(f"checking {entry.file}", file.tell(), size)
    return {kind: each.hexdigest() for kind, each in hashes.items()}
