"""How readable a tree of Python files is, in figures: how dense its statements, how long its parts, how it names."""

import ast
import io
import itertools
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT)
WITHOUT_A_CHOICE = ("forward", "backward", "main", "step")  # names that torch, Betty and Python ask for
EQUAL_LINES = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def docstring_lines(self) -> set[int]:
        lines: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
                docstring = node.body[0]
                lines.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
        return lines

    @cached_property
    def code_lines(self) -> set[int]:
        """The numbers of the lines that hold more than a comment or a docstring."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in LAYOUT:
                lines.update(range(token.start[0], token.end[0] + 1))
        return lines - self.docstring_lines

    @cached_property
    def expressions(self) -> int:
        """How many expressions there are, those of type hints and docstrings left out."""
        hints: set[int] = set()
        for node in ast.walk(self.tree):
            hint = getattr(node, "annotation", None) or getattr(node, "returns", None)
            if hint is not None:
                hints |= {id(part) for part in ast.walk(hint)}
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.expr) and id(node) not in hints]
        docstrings = [node for node in found if isinstance(node, ast.Constant) and node.lineno in self.docstring_lines]
        return len(found) - len(docstrings)

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    @cached_property
    def runs_of_lines(self) -> set[tuple[str, ...]]:
        """Each `EQUAL_LINES` lines that follow each other, blank ones and indentation left out."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return {tuple(lines[start : start + EQUAL_LINES]) for start in range(len(lines) - EQUAL_LINES + 1)}


def read_sources(folder: Path) -> list[Source]:
    return [Source(path) for path in sorted(folder.rglob("*.py"))]


def find_density(sources: list[Source]) -> float:
    """Expressions a line of code."""
    lines = sum(len(source.code_lines) for source in sources)
    return sum(source.expressions for source in sources) / lines


def find_share_of_one_word_names(sources: list[Source]) -> float:
    """Of all functions whose name was ours to choose."""
    names = []
    for function in itertools.chain.from_iterable(source.functions for source in sources):
        is_noun = any("property" in ast.unparse(decorator) for decorator in function.decorator_list)
        if not (is_noun or function.name.startswith("__") or function.name in WITHOUT_A_CHOICE):
            names.append(function.name.strip("_"))
    return sum("_" not in name for name in names) / len(names)


def count_lines(node: ast.AST) -> int:
    return (getattr(node, "end_lineno", 0) or 0) - getattr(node, "lineno", 0) + 1


def find_public_names(folder: Path) -> dict[str, set[str]]:
    """Public class or function -> the top-level rooms that define one of that name; what `__init__` hands on aside."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for source in read_sources(folder):
        if source.path.name == "__init__.py":
            continue
        room = source.path.relative_to(folder).parts[0].removesuffix(".py")
        for node in source.tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                rooms[node.name].add(room)
    return dict(rooms)


def find_pairs_that_share_lines(sources: list[Source]) -> list[tuple[Path, Path]]:
    """Pairs of files with `EQUAL_LINES` equal lines."""
    pairs = itertools.combinations(sources, 2)
    return [(one.path, other.path) for one, other in pairs if one.runs_of_lines & other.runs_of_lines]
