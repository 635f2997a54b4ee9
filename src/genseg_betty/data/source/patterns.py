"""The file patterns of a dataset YAML.

`*` stands for text within a name, `**/` for any folders, `.*` for any format.
"""

import itertools
import posixpath
import re
import unicodedata

from genseg_betty.data.formats import EXTENSIONS, split_name
from genseg_betty.errors import UserError

# A * or ? stands for any text in a pattern but for itself in a file name:
# there it travels as a control character.
_HIDE = str.maketrans("*?", "\0\1")
_SHOW = str.maketrans("\0\1", "*?")
_ANY_FORMAT = "|".join(re.escape(extension[1:]) for extension in EXTENSIONS)
_WILDCARDS = {  # their regular expressions
    "**/": "(?:.*/)?",
    "*": "[^/]*",
    "?": "[^/]",
}


def fill_pattern(pattern: str, folder: str, stem: str | None = None, group: str | None = None) -> str:
    """Fill {dir}, {stem} and {group} of a mask pattern; without a stem it matches the masks of every image."""
    texts = {
        "dir": folder,
        "stem": stem,
        "group": group,
    }
    hidden = {}
    for field, text in texts.items():
        hidden[field] = "*" if text is None else text.translate(_HIDE)
    return re.sub(r"\{(dir|stem|group)\}", lambda found: hidden[found[1]], pattern)


def show_wildcards(pattern: str) -> str:
    """The text of a file name in a pattern, as it is on disk: each hidden * and ? as itself."""
    return pattern.translate(_SHOW)


def is_wild(pattern: str) -> bool:
    """Whether a pattern stands for more than one text."""
    return re.search(r"[*?]", pattern) is not None


def fixed_folder(pattern: str) -> str:
    """The leading folders of a pattern that hold no wildcard: the part of the root worth listing.

    Raises UserError for a pattern that leads out of the root.
    """
    folders = pattern.split("/")[:-1]
    fixed = itertools.takewhile(_is_fixed, folders)
    path = below_root("/".join(fixed))
    return posixpath.normpath(path or ".")


def _is_fixed(folder: str) -> bool:
    return re.search(r"[*?{]", folder) is None


def below_root(pattern: str) -> str:
    """Return a pattern as it is. Raises UserError where it leads out of the root."""
    path = posixpath.normpath(pattern)
    if path.startswith(("/", "..")):
        raise UserError(f"pattern {pattern} leads out of the dataset's root; write it relative to the root")
    return pattern


def normalise_pattern(pattern: str) -> str:
    """A pattern in Unicode NFC, without `.`, `..` and doubled slashes. Raises UserError where it leads out."""
    path = below_root(pattern)
    return posixpath.normpath(unicodedata.normalize("NFC", path))


def split_pattern(pattern: str) -> tuple[str, str]:
    """A pattern without its extension, and the extension, which may be `.*`."""
    if pattern.endswith(".*"):
        return pattern[:-2], ".*"
    return split_name(pattern)


def compile_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """The regular expression of a normal pattern. It compares the extension without regard to case."""
    body, extension = split_pattern(pattern)
    text = ""
    for piece in re.split(r"(\*\*/|\*|\?)", body):
        literal = re.escape(show_wildcards(piece))
        text += _WILDCARDS.get(piece, literal)
    return re.compile(text + extension_expression(extension), re.DOTALL | flags)


def extension_expression(extension: str) -> str:
    """The regular expression, as text, of a pattern's extension."""
    if extension == ".*":
        return rf"\.(?i:{_ANY_FORMAT})"
    literal = re.escape(extension)
    return f"(?i:{literal})"
