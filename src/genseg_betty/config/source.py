"""Modules read as source, without importing them: their statements, and what the names of their annotations mean."""

import ast
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any

PACKAGE = "genseg_betty"
OPEN_TO_READ = ("typing", "collections.abc")  # modules whose names annotations use, and which import in no time

Signature = tuple[list[Parameter], dict[str, Any]]
"""The parameters, and the types of those that are annotated. A default may be replaced by None."""


@cache
def parse_module(module: str) -> ast.Module:
    """The source of one of our modules. Raises ModuleNotFoundError where there is none."""
    package = Path(__file__).parents[1]
    below = module.split(".")[1:]
    file = _find_source([package.joinpath(*below)])
    if file is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    return ast.parse(file.read_text(encoding="utf-8"))


def find_module_file(module: str) -> Path | None:
    """The source of a module of others, found without importing the packages that it lies in."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not below:
        origin = spec.origin or ""
        return Path(origin) if origin.endswith(".py") else None
    folders = spec.submodule_search_locations or ()
    return _find_source([Path(folder, *below) for folder in folders])


def _find_source(places: Sequence[Path]) -> Path | None:
    """The first file that is there: at each place a module, or else a package."""
    for place in places:
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def find_definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """The statement that gives each name of a module its meaning."""
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        for name in _list_defined(statement):
            found[name] = statement
    return found


def _list_defined(statement: ast.stmt) -> list[str]:
    """The names that a statement gives a meaning."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.ImportFrom | ast.Import):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


class ModuleNames(dict[str, Any]):
    """What the names of a module's annotations stand for, found out as they are asked for."""

    def __init__(self, tree: ast.Module) -> None:
        self._definitions = find_definitions(tree)

    def evaluate(self, annotation: ast.expr) -> Any:
        """The type that an annotation stands for. Raises NameError where it uses what is not read."""
        code = compile(ast.Expression(annotation), "<annotation>", "eval")
        return eval(code, {}, self)

    def __missing__(self, name: str) -> Any:
        node = self._definitions.get(name)
        if isinstance(node, ast.ImportFrom) and node.module in OPEN_TO_READ:
            module = importlib.import_module(node.module)
            return getattr(module, name)
        if isinstance(node, ast.Assign):
            return self.evaluate(node.value)
        if node is not None:
            raise NameError(name)
        raise KeyError(name)  # a built-in, or nothing


def read_fields(module: str, name: str) -> dict[str, Any]:
    """The fields of one of our dataclasses, each with its type."""
    tree = parse_module(module)
    found = find_definitions(tree)[name]
    assert isinstance(found, ast.ClassDef)
    names = ModuleNames(tree)
    kinds = {}
    for field in found.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            kinds[field.target.id] = names.evaluate(field.annotation)
    return kinds
