"""The arguments that a component takes.

Components are read as source, not imported: importing them brings PyTorch, which takes seconds that a mistyped key
should not cost. Where the source alone does not tell, they are imported; those of others in the end always.
"""

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any, get_type_hints

PACKAGE = "genseg_betty"
SEARCH_SPACE = f"{PACKAGE}.generators.search_space"
SHAPES = f"{PACKAGE}.generators.shapes"
OPEN_TO_READ = ("typing", "collections.abc")  # modules whose names annotations use, and which import in no time

Signature = tuple[list[Parameter], dict[str, Any]]
"""The parameters, and the types of those that are annotated. A default may be replaced by None."""


def read_signature(target: str, importing: bool = False) -> Signature:
    """What `target` (module.name of a function or class) takes.

    Args:
        importing: import what is not ours, even where its source tells.

    Raises ImportError, AttributeError or ValueError where there is nothing to call, and whatever a module of others
    raises when it is imported.
    """
    module, _, name = target.rpartition(".")
    if not module:
        raise ValueError("it names no module")
    found = None
    if is_ours(target):
        found = _read_source(module, name)
    elif not importing:
        found = _read_foreign(module, name)
    return _spread_space(found or _import_and_inspect(module, name))


def _spread_space(found: Signature) -> Signature:
    """The fields of `SearchSpace`, which are flat keys of a config, in place of a generator's argument `space`."""
    parameters, hints = found
    names = {parameter.name for parameter in parameters}
    if not {"space", "image_size"} <= names:
        return found
    own = [parameter for parameter in parameters if parameter.name != "space"]
    hints = {name: kind for name, kind in hints.items() if name != "space"}
    fields = _read_fields(SEARCH_SPACE, "SearchSpace")
    flat = [Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in fields]
    return own + flat, hints | fields


def _spread_shapes(found: Signature) -> Signature:
    """The fields of `Shapes` in place of a generator's argument `shapes`; its `space` has a default.

    So does `generators.searchable.spread_shapes` change the constructor that it decorates.
    """
    (_, space, *own), hints = found
    fields = _read_fields(SHAPES, "Shapes")
    flat = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in fields]
    return [*flat, space.replace(default=None), *own], hints | fields


def _read_fields(module: str, name: str) -> dict[str, Any]:
    """The fields of one of our dataclasses, with their types."""
    tree = _parse(module)
    node = _definitions(tree)[name]
    assert isinstance(node, ast.ClassDef)
    kinds = _Names(tree)
    fields = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            fields[statement.target.id] = kinds.value(statement.annotation)
    return fields


def is_ours(target: str) -> bool:
    """Whether a target is code of this package."""
    return target.partition(".")[0] == PACKAGE


def _import_and_inspect(module: str, name: str) -> Signature:
    found = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise ValueError(f"{name} is a {type(found).__name__}")
    try:
        hints = get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = {}  # annotations that cannot be evaluated: names are still checked
    return list(inspect.signature(found).parameters.values()), hints


def _read_source(module: str, name: str) -> Signature | None:
    """The signature as the source has it; None where it takes more than reading to know it."""
    tree = _parse(module)
    node = _definitions(tree).get(name)
    if isinstance(node, ast.ImportFrom) and node.module:
        return _read_source(node.module, name)
    if isinstance(node, ast.ClassDef) and not node.decorator_list:
        return _read_class(module, node)
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return _read_function(node, tree)
    return None


def _read_foreign(module: str, name: str) -> Signature | None:
    """The same of code that is not ours: of a function, or of a class with a constructor of its own."""
    file = _find_file(module)
    try:
        tree = ast.parse(file.read_bytes()) if file else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):  # the import tells what is wrong
        return None
    node = _definitions(tree).get(name)
    if isinstance(node, ast.ClassDef):
        bodies = [entry for entry in node.body if isinstance(entry, ast.FunctionDef) and entry.name == "__init__"]
        constructor = bodies[-1] if bodies and not node.decorator_list and not node.keywords else None
        parameters, hints = _read_function(constructor, tree) if constructor else ([], {})
        return (parameters[1:], hints) if constructor and not constructor.decorator_list else None
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return _read_function(node, tree)
    return None


def _find_file(module: str) -> Path | None:
    """The source of a module, found without importing the packages that it lies in."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not below:
        return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
    places = [Path(folder, *below) for folder in spec.submodule_search_locations or ()]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _read_class(module: str, node: ast.ClassDef) -> Signature | None:
    """The signature of the constructor: the class's own, or that of the first base."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            parameters, hints = _read_function(statement, _parse(module))
            decorators = {ast.unparse(decorator) for decorator in statement.decorator_list}
            found = parameters[1:], hints
            return _spread_shapes(found) if "spread_shapes" in decorators else found
    base = node.bases[0] if node.bases else None
    return _read_source(module, base.id) if isinstance(base, ast.Name) else None


def _read_function(node: ast.FunctionDef, tree: ast.Module) -> Signature:
    names = _Names(tree)
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    required = len(positional) - len(given.defaults)
    defaults = [Parameter.empty] * required + [None] * len(given.defaults)
    kinds = [Parameter.POSITIONAL_ONLY] * len(given.posonlyargs) + [Parameter.POSITIONAL_OR_KEYWORD] * len(given.args)
    parameters = [
        Parameter(argument.arg, kind, default=default)
        for argument, kind, default in zip(positional, kinds, defaults, strict=True)
    ]
    if given.vararg:
        parameters.append(Parameter(given.vararg.arg, Parameter.VAR_POSITIONAL))
    parameters += [
        Parameter(argument.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is None else None)
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    if given.kwarg:
        parameters.append(Parameter(given.kwarg.arg, Parameter.VAR_KEYWORD))
    return parameters, dict(_types([*positional, *given.kwonlyargs], names))


def _types(arguments: list[ast.arg], names: "_Names") -> Iterator[tuple[str, Any]]:
    """The types of the arguments, but for those that need the module's imports: they say nothing about YAML values."""
    for argument in arguments:
        if argument.annotation is not None:
            try:
                yield argument.arg, names.value(argument.annotation)
            except NameError:
                continue


class _Names(dict[str, Any]):
    """What the names of a module's annotations stand for, found out as they are asked for."""

    def __init__(self, tree: ast.Module) -> None:
        self._definitions = _definitions(tree)

    def value(self, expression: ast.expr) -> Any:
        """Evaluate an annotation of our own source. Raises NameError where it uses what is not read."""
        return eval(compile(ast.Expression(expression), "<annotation>", "eval"), {}, self)

    def __missing__(self, name: str) -> Any:
        node = self._definitions.get(name)
        if isinstance(node, ast.ImportFrom) and node.module in OPEN_TO_READ:
            return getattr(importlib.import_module(node.module), name)
        if isinstance(node, ast.Assign):
            return self.value(node.value)
        if node is not None:
            raise NameError(name)
        raise KeyError(name)  # a built-in, or nothing


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """The statement that gives each name of a module its meaning."""
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name.partition(".")[0]: statement for alias in statement.names}
        elif isinstance(statement, ast.Assign):
            found |= {target.id: statement for target in statement.targets if isinstance(target, ast.Name)}
    return found


@cache
def _parse(module: str) -> ast.Module:
    """The source of one of our modules. Raises ModuleNotFoundError where there is none."""
    place = Path(__file__).parents[1].joinpath(*module.split(".")[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return ast.parse(file.read_text(encoding="utf-8"))
    raise ModuleNotFoundError(f"No module named {module!r}")
