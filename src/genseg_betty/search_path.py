"""Where Python finds what is imported: commands that read the files of strangers take installed packages alone.

`python -m` and notebooks search the current folder first, which may be one that a stranger has packed: a monai/ in it
would be imported in place of MONAI.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genseg_betty.errors import UserError


@contextmanager
def installed_packages_only() -> Iterator[None]:
    """Import in the block neither from the current folder nor from those of PYTHONPATH."""
    before = list(sys.path)
    foreign = folders_of_the_user()
    sys.path[:] = [entry for entry in before if Path(entry).resolve() not in foreign]
    try:
        yield
    finally:
        sys.path[:] = before


def folders_of_the_user() -> set[Path]:
    """The current folder, and those of PYTHONPATH but for any into which packages are installed, as on clusters."""
    folders = {current_folder()}
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for entry in entries:
        folder = Path(entry).resolve()
        holds_installed = any(folder.glob("*.dist-info"))
        if not holds_installed:
            folders.add(folder)
    return folders


def current_folder() -> Path:
    """Raises UserError where it was deleted, as a shell in another window does not see."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the current folder is gone, deleted or moved: go into one that is there (cd ~)") from error
