"""Reads the file of an offline run of W&B, whose Python package has a reader of the records alone.

The format is LevelDB's log: blocks of 32 KiB, a record in one part or several, each with its checksum and length.
"""

import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768
HEADER = 7
FULL, LAST = 1, 4
PATIENCE = 20  # seconds


def read_records(path: Path) -> Iterator[Any]:
    """The records of a file, as wandb's own messages; a record that a kill has torn ends them."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    position, content = HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, position)
        part = data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if len(part) < length:
            return
        assert zlib.crc32(bytes([kind]) + part) == checksum
        content += part
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            content = b""
            yield record


class OfflineRun:
    """What an offline run says.

    Attributes:
        run: the record that began it.
        history: a dictionary for each step.
        summary: the last value of everything.
        artifacts: name -> record.
        exit_code: how it ended.
    """

    def __init__(self, folder: Path) -> None:
        (file,) = folder.glob("run-*.wandb")
        self.folder = folder
        self.run: Any = None
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.artifacts: dict[str, Any] = {}
        self.exit_code: int | None = None
        for record in read_records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
            elif kind == "history":
                self.history.append(gather(record.history.item, {}))
            elif kind == "summary":
                gather(record.summary.update, self.summary)
            elif kind == "artifact":
                self.artifacts[record.artifact.name] = record.artifact
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.history]

    @property
    def config(self) -> dict[str, Any]:
        return gather(self.run.config.update, {})

    def find_points(self, name: str) -> list[tuple[int, Any]]:
        """Step and value wherever the history has this name."""
        return [(row["_step"], row[name]) for row in self.history if name in row]

    def read_media(self, value: dict[str, Any]) -> Path:
        """The file of a picture or table of the history."""
        return self.folder / "files" / value["path"]

    def read_table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table; its pictures are paths in its artifact."""
        files = self.list_table_files(name)
        (place,) = [file for path, file in files.items() if path.endswith(".table.json")]
        table = json.loads(place.read_text())
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def list_table_files(self, name: str) -> dict[str, Path]:
        """Path in the artifact of a table -> the file of a picture in it, or of the table itself."""
        (artifact,) = [
            found for found in self.artifacts.values() if found.client_id in self.summary[name]["artifact_path"]
        ]
        return {part.path: Path(part.local_path) for part in artifact.manifest.contents}


def gather(items: Any, into: dict[str, Any]) -> dict[str, Any]:
    """Items of keys, in several parts where they are nested, and values as JSON."""
    for item in items:
        *outer, last = item.nested_key or [item.key]
        place = into
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return into


def read_offline_run(path: Path) -> OfflineRun:
    """The one offline run in the directory of a Run, once W&B's own process has written the end of it."""
    (folder,) = path.glob("wandb/offline-run-*")
    deadline = time.monotonic() + PATIENCE
    while (found := OfflineRun(folder)).exit_code is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
