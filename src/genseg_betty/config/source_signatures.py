"""The signatures of functions and of classes' constructors, as their source has them."""

import ast
from inspect import Parameter
from typing import Any

from genseg_betty.config.source import (
    PACKAGE,
    ModuleNames,
    Signature,
    find_definitions,
    find_module_file,
    parse_module,
    read_fields,
)

SHAPES = f"{PACKAGE}.generators.shapes"


def read_own_source(module: str, name: str) -> Signature | None:
    """The signature of code of this package; None where it takes more than reading to know it."""
    tree = parse_module(module)
    node = find_definitions(tree).get(name)
    if isinstance(node, ast.ImportFrom) and node.module:
        return read_own_source(node.module, name)
    if isinstance(node, ast.ClassDef) and not node.decorator_list:
        return _read_own_class(module, node)
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return _read_function(node, tree)
    return None


def read_foreign_source(module: str, name: str) -> Signature | None:
    """The same of code that is not ours: of a function, or of a class with a constructor of its own."""
    file = find_module_file(module)
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # the import tells what is wrong
        return None
    node = find_definitions(tree).get(name)
    if isinstance(node, ast.ClassDef):
        return _read_foreign_class(node, tree)
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return _read_function(node, tree)
    return None


def _read_own_class(module: str, node: ast.ClassDef) -> Signature | None:
    """The signature of the constructor: the class's own, or that of the first base."""
    constructors = _list_constructors(node)
    if constructors:
        constructor = constructors[0]
        found = _read_constructor(constructor, parse_module(module))
        decorators = [ast.unparse(decorator) for decorator in constructor.decorator_list]
        return _spread_shapes(found) if "spread_shapes" in decorators else found
    base = node.bases[0] if node.bases else None
    return read_own_source(module, base.id) if isinstance(base, ast.Name) else None


def _spread_shapes(found: Signature) -> Signature:
    """The fields of `Shapes` in place of a generator's argument `shapes`; its `space` has a default.

    So does `generators.searchable.spread_shapes` change the constructor that it decorates.
    """
    (_, space, *own), hints = found
    fields = read_fields(SHAPES, "Shapes")
    spread = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in fields]
    optional_space = space.replace(default=None)
    return [*spread, optional_space, *own], hints | fields


def _read_foreign_class(node: ast.ClassDef, tree: ast.Module) -> Signature | None:
    """The signature of the class's own constructor; None where a decorator or a metaclass may change it."""
    constructors = _list_constructors(node)
    if not constructors or node.decorator_list or node.keywords:
        return None
    constructor = constructors[-1]
    return None if constructor.decorator_list else _read_constructor(constructor, tree)


def _list_constructors(node: ast.ClassDef) -> list[ast.FunctionDef]:
    functions = [entry for entry in node.body if isinstance(entry, ast.FunctionDef)]
    return [function for function in functions if function.name == "__init__"]


def _read_constructor(node: ast.FunctionDef, tree: ast.Module) -> Signature:
    """The signature of a constructor, without `self`."""
    parameters, hints = _read_function(node, tree)
    return parameters[1:], hints


def _read_function(node: ast.FunctionDef, tree: ast.Module) -> Signature:
    given = node.args
    parameters = _list_positional(given)
    if given.vararg:
        parameters.append(Parameter(given.vararg.arg, Parameter.VAR_POSITIONAL))
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        shown = Parameter.empty if default is None else None
        parameters.append(Parameter(argument.arg, Parameter.KEYWORD_ONLY, default=shown))
    if given.kwarg:
        parameters.append(Parameter(given.kwarg.arg, Parameter.VAR_KEYWORD))
    annotated = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return parameters, _find_types(annotated, ModuleNames(tree))


def _list_positional(given: ast.arguments) -> list[Parameter]:
    """The parameters that may be given by position; the last ones have the defaults."""
    positional = [*given.posonlyargs, *given.args]
    required = len(positional) - len(given.defaults)
    parameters = []
    for index, argument in enumerate(positional):
        is_nameless = index < len(given.posonlyargs)
        kind = Parameter.POSITIONAL_ONLY if is_nameless else Parameter.POSITIONAL_OR_KEYWORD
        default = Parameter.empty if index < required else None
        parameters.append(Parameter(argument.arg, kind, default=default))
    return parameters


def _find_types(arguments: list[ast.arg], names: ModuleNames) -> dict[str, Any]:
    """The types of the arguments, but for those that need the module's imports: they say nothing about YAML values."""
    types = {}
    for argument in arguments:
        if argument.annotation is None:
            continue
        try:
            types[argument.arg] = names.evaluate(argument.annotation)
        except NameError:
            continue
    return types
