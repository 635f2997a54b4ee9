"""One file by HTTP: a transfer goes on where it stopped, and is bounded by the size stated and by the disk."""

import os
import shutil
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any

from rich.filesize import decimal

from genseg_betty.data.fetch.entries import Entry
from genseg_betty.data.fetch.screen import Screen
from genseg_betty.data.fetch.server import (
    BrokenTransfer,
    ask_for_file,
    name_reason,
    read_extent,
    suggest_browser,
)
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, bounded_json, to_json

PAUSES = (1, 2, 5, 15, 30)  # seconds before each new try; a try that brings more starts the count anew
RESERVE = 2**28  # bytes of the disk that are left free
CHUNK = 2**20
MAX_RECORD = 2**24  # bytes


def download_file(entry: Entry, path: Path, screen: Screen) -> None:
    """Bring an entry's file to `path`, going on where an earlier try stopped. Raises UserError."""
    part = path.with_name(f"{path.name}.part")
    if part.is_symlink():
        raise UserError(f"{part} is a link, and nothing is written through links; remove it")
    furthest = _measure_size(part)
    failures = 0
    screen.print_message(f"{entry.file}: from {entry.url}")
    while True:
        try:
            _transfer_rest(entry, part, screen)
            break
        except BrokenTransfer as error:
            came = _measure_size(part)
            failures = 0 if came > furthest else failures + 1
            furthest = max(furthest, came)
            if failures > len(PAUSES):
                raise _give_up(entry, path, furthest, failures, error) from error
            pause = PAUSES[max(failures - 1, 0)]
            screen.print_message(f"{entry.file}: {error}; trying again in {pause} s")
            time.sleep(pause)
    os.replace(part, path)
    _name_state_file(part).unlink(missing_ok=True)


def _give_up(entry: Entry, path: Path, furthest: int, failures: int, error: BrokenTransfer) -> UserError:
    advice = suggest_browser(path)
    if furthest:
        kept = decimal(furthest)
        advice = f"What came ({kept}) is kept: the next try goes on from there. {advice}"
    return UserError(f"{entry.url}: {error}, {failures} times. {advice}")


def _transfer_rest(entry: Entry, part: Path, screen: Screen) -> None:
    """One try: asks for the rest of the file, or for all of it where the server has another by now."""
    state = read_json(_name_state_file(part))
    done = _measure_size(part) if state.get("url") == entry.url else 0
    if done and done == state.get("total"):
        return
    with ask_for_file(entry, part, done, state) as response:
        start, total = read_extent(response)
        now = _describe_file(entry, response, total)
        if start and (start != done or now != state):
            part.unlink()
            raise BrokenTransfer("the file at the server has changed, so it starts anew")
        if done and not start:
            screen.print_message(f"{entry.file}: the server does not go on where it stopped; from the beginning")
        most = _bound_size(entry, part, start, total)
        with part.open("ab" if start else "wb") as file:
            record = to_json(now)
            atomic_write(_name_state_file(part), record.encode())
            _receive_file(entry, response, file, total, most, screen)


def _describe_file(entry: Entry, response: HTTPResponse, total: int | None) -> dict[str, Any]:
    """What tells the file at the server from a later one of that name."""
    return {
        "url": entry.url,
        "total": total,
        "ETag": response.headers.get("ETag"),
        "Last-Modified": response.headers.get("Last-Modified"),
    }


def _receive_file(
    entry: Entry, response: HTTPResponse, file: IO[bytes], total: int | None, most: int, screen: Screen
) -> None:
    """Write what comes to the end of `file`. Raises UserError, and removes it, where it grows above `most` bytes."""
    done = file.tell()
    while chunk := _read_chunk(response):
        done += file.write(chunk)
        if done > most:
            Path(file.name).unlink()
            bound = f"{decimal(most)} (the size stated, or what the disk can spare)"
            raise UserError(f"{entry.url}: sends more than {bound}; it was removed")
        screen.step(entry.file, done, total)
    file.flush()
    os.fsync(file.fileno())
    if total is not None and done < total:
        raise BrokenTransfer(f"the connection ended after {decimal(done)} of {decimal(total)}")


def _read_chunk(response: HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, HTTPException) as error:
        raise BrokenTransfer(f"the connection broke ({name_reason(error)})") from error


def _bound_size(entry: Entry, part: Path, start: int, total: int | None) -> int:
    """The size that the file may reach. Raises UserError where it is not the one stated or too large for the disk."""
    if None not in (total, entry.size) and total != entry.size:
        raise UserError(
            f"{entry.url}: the server's file has {total} bytes, expected {entry.size}. "
            "The publisher has changed it: look at what is new, then mend size and checksum in the dataset's YAML"
        )
    expected = entry.size if total is None else total
    disk = shutil.disk_usage(part.parent)
    free = disk.free - RESERVE + start
    if expected is None:
        return free
    if expected > free:
        to_come = decimal(expected - start)
        spare = decimal(max(0, free - start))
        raise UserError(
            f"{entry.url}: {to_come} are to come, but the disk of {part.parent} has {spare} to spare. "
            "Make room, or fetch to another disk with root=DIR"
        )
    return expected


def _name_state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def read_json(path: Path) -> dict[str, Any]:
    """What a record of ours says; {} where there is none, or it is damaged."""
    try:
        found = bounded_json(path, MAX_RECORD)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _measure_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
