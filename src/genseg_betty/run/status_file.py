"""status.json of a Run: how far it has come, and which process trains it."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genseg_betty.files import atomic_write, to_json
from genseg_betty.run.checksums import Checksums, explain_damage
from genseg_betty.run.json_file import read_json_file

STATES = ("running", "finished", "interrupted", "failed")


class StatusFile:
    """The status.json in `folder`. It has a checksum only once the Run is finished, and so has metrics.csv."""

    def __init__(self, folder: Path, sums: Checksums) -> None:
        self.path = folder / "status.json"
        self._changing = (self.path, folder / "metrics.csv")
        self._sums = sums

    def write(self, state: str, step: int | None, message: str, skipped: Mapping[str, int] | None) -> None:
        """Write all anew; `step` and `skipped` stay what they were where they are None. Raises OSError."""
        if state not in STATES:
            raise ValueError(f"state {state!r}: expected one of {STATES}")
        before = self.read()
        status = {
            "state": state,
            "step": before.get("step", 0) if step is None else step,
            "message": message,
            "skipped": before.get("skipped", {}) if skipped is None else skipped,
            "pid": os.getpid(),
            "host": platform.node(),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }

        # Until the Run is finished both files change without their checksums.
        self._sums.forget(*self._changing)
        atomic_write(self.path, to_json(status).encode())
        if state == "finished":
            self._sums.keep(*self._changing)

    def read(self) -> dict[str, Any]:
        """What the file says; {} where there is none. Raises UserError for a damaged one."""
        if not self.path.exists():
            return {}
        status = read_json_file(self.path)
        if status is None:  # the file says null
            return {}
        found = status.get("state") if isinstance(status, dict) else status
        if not isinstance(status, dict) or found not in STATES:
            raise explain_damage(self.path, f"its state is {found!r}, expected one of {', '.join(STATES)}")
        step = status.get("step")
        if not isinstance(step, int):
            raise explain_damage(self.path, f"its step is {step!r}, expected a number")
        return status
