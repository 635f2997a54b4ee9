"""SHA256SUMS of a Run: what its files held when they were written, so that one flipped bit is found when they are read.

`sha256sum -c SHA256SUMS` checks them by hand. A file that it does not name is not checked: of a Run of an earlier
version, or one whose line was taken out by who changed the file.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, bounded_read, file_sha256, whole_file

SUMS = "SHA256SUMS"
MAX_SUMS = 2**20  # bytes: some ten thousand lines
LINE = re.compile(r"([0-9a-f]{64})  (.+)")
UNLIKE = f"it does not hold what was written, its SHA-256 is not the one in {SUMS}"
ON_PURPOSE = f"If you changed it yourself, take its line out of {SUMS}."
CHECKPOINT = "Put back a copy of it, or train again with resume=restart (deletes the Run)."
OUTCOME = "Put back a copy of it, or delete it and give the training's command again: it is made anew from last.pt."
MEND = {
    SUMS: "Put back a copy of it, or delete it: the Run's files are then taken as they are.",
    "predictor.pt": OUTCOME,
    "generator.pt": OUTCOME,
    "generator_strongest.pt": OUTCOME,
    "config.yaml": "Put back a copy of it.",
    "status.json": "Delete it and give the training's command again: the Run goes on from its checkpoint.",
    "metrics.csv": "Put back a copy of it, or delete it: the curves are lost, the model and its scores are not.",
    "splits.json": "Put back a copy of it: it alone says which cases were trained on.",
    "results.json": "Put back a copy of it, or delete it and give the training's command again: that tests anew.",
}


class Checksums:
    """The SHA256SUMS in `folder`, written by the one process that trains there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
        """Write a file whole, with its checksum. Raises OSError.

        While the file is renamed both the old content and the new one are right: a kill may come before or after.
        """
        before = self._read_digests().get(self._find_name(path), ())
        with whole_file(path, "") as temporary:
            with temporary.open("r+b") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    content(file)
            digest = file_sha256(temporary)
            if before:
                self._note_digests({path: (*before, digest)})
        self._note_digests({path: (digest,)})

    def keep(self, *paths: Path) -> None:
        """Note what these files hold now that they are not to change any more. Raises OSError."""
        digests_of = {}
        for path in paths:
            if path.is_file():
                digests_of[path] = (file_sha256(path),)
        self._note_digests(digests_of)

    def forget(self, *paths: Path) -> None:
        """Take out what was noted of files that change again. Raises OSError."""
        known = self._read_digests()
        if any(self._find_name(path) in known for path in paths):
            self._note_digests(dict.fromkeys(paths, ()))

    def matches(self, path: Path) -> bool:
        """Whether a file holds what was written, as far as that is known. Raises OSError."""
        known = self._read_digests().get(self._find_name(path))
        return known is None or file_sha256(path) in known

    def find_changed_texts(self) -> list[str]:
        """Names of the files, checkpoints left out, that are gone or hold something else than was written.

        Its own name is among them where it holds lines that are no checksums, or none.
        """
        changed = []
        for name in self._read_digests():
            path = self.folder / name
            is_text = "/" not in name
            if is_text and not self._is_unchanged(path):
                changed.append(path.name)
        if not self._is_sound():
            changed.append(SUMS)
        return changed

    def _is_unchanged(self, path: Path) -> bool:
        return path.is_file() and self.matches(path)

    def _is_sound(self) -> bool:
        """Whether each line of the file is a checksum, and there are some; so is a file that is not there."""
        lines = self._read_lines()
        if lines is None:
            return True
        return bool(lines) and all(LINE.fullmatch(line) for line in lines)

    def _note_digests(self, digests_of: Mapping[Path, tuple[str, ...]]) -> None:
        """Write the file anew with these digests; a file without any is taken out."""
        known = self._read_digests()
        for path, digests in digests_of.items():
            known[self._find_name(path)] = digests
        lines = ""
        for name in sorted(known):
            for digest in known[name]:
                lines += f"{digest}  {name}\n"
        atomic_write(self.folder / SUMS, lines.encode())

    def _read_digests(self) -> dict[str, tuple[str, ...]]:
        """Name -> digests, one unless a process was killed in the middle of a write.

        Raises UserError for a file that is no list of them.
        """
        known: dict[str, tuple[str, ...]] = {}
        for line in self._read_lines() or ():
            found = LINE.fullmatch(line)
            if found:
                digest, name = found.groups()
                known[name] = (*known.get(name, ()), digest)
        return known

    def _read_lines(self) -> list[str] | None:
        """The lines of the file; None where there is none. Raises UserError where it cannot be read."""
        file = self.folder / SUMS
        try:
            content = bounded_read(file, MAX_SUMS)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise explain_damage(file, f"it cannot be read ({error})") from error
        return content.decode("utf-8", errors="replace").splitlines()

    def _find_name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def explain_damage(path: Path, reason: str) -> UserError:
    """The error for a file of a Run that cannot be used as it is."""
    on_purpose = f" {ON_PURPOSE}" if reason == UNLIKE else ""
    return UserError(f"{path} is damaged: {reason}. {suggest_remedy(path)}{on_purpose}")


def suggest_remedy(path: Path) -> str:
    """What to do about a file of a Run that is damaged."""
    otherwise = CHECKPOINT if path.suffix == ".pt" else "Put back a copy of it, or delete it."
    return MEND.get(path.name, otherwise)
