"""Imports run one way, a room imports only from rooms below its own; and the code stays plain to read."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import genseg_betty
from readability import (
    count_lines,
    find_density,
    find_pairs_that_share_lines,
    find_public_names,
    find_share_of_one_word_names,
    read_sources,
)

PACKAGE = Path(genseg_betty.__file__).parent

# From the ground up. A room may import from its own row and from every row below.
ROWS = [
    {
        "errors",
        "faults",
        "files",
        "joint_batch",
        "lock",
        "randomness",
        "ranks",
        "device",
        "memory",
        "search_path",
        "slurm_job",
        "statistics",
        "terminal",
    },
    {"signals", "streams", "plotting"},
    {"config", "run"},
    {"reporting"},
    {"multilevel"},
    {
        "data",
        "augment",
        "consistency",
        "losses",
        "metrics",
        "samples",
        "generators",
        "backbones",
        "tracking",
        "progress",
    },
    {"build", "trust"},
    {"levels", "semisupervised", "inference", "nnunet"},
    {"exporting", "interactive"},
    {"training"},
    {"methods"},
    {"commands", "sweep", "cli"},
    {"__main__", "__init__"},
]
MODEL_FREE = {"reporting", "tracking", "run", "config", "commands", "cli", "interactive"}
MODELS = {
    "generators",
    "backbones",
    "build",
    "levels",
    "semisupervised",
    "methods",
    "training",
    "inference",
    "exporting",
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    rooms = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genseg_betty"):
            below = node.module.split(".")[1:2]
            rooms |= set(below) if below else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {name.name.split(".")[1] for name in node.names if name.name.startswith("genseg_betty.")}
    return rooms


def imported_modules(path: Path) -> set[str]:
    """Full names; of `from package import name` both the package and, should it be a module, the name in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def rows() -> dict[str, int]:
    return {name: row for row, names in enumerate(ROWS) for name in names}


def test_every_room_has_its_place():
    found = {room(path) for path in PACKAGE.rglob("*.py")}
    assert found == set(rows())


def test_no_import_runs_back():
    height = rows()
    backwards = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in imported_rooms(path)
        if name in height and height[name] > height[room(path)]
    ]
    assert not backwards, "\n".join(backwards)


def test_no_two_modules_import_each_other():
    """Along imports one never comes back to where one began, not even through those that wait inside a function."""
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {name: imported_modules(path) & modules.keys() - {name} for name, path in modules.items()}
    # A package's name stands for its __init__, which each of its modules may use; the package itself uses them.
    circles = TopologicalSorter(
        {name: {n for n in used if not name.startswith(f"{n}.")} for name, used in graph.items()}
    )
    circles.prepare()


def test_reports_and_commands_load_no_model():
    """`genseg data list` and `genseg report` must not wait for networks to be imported."""
    found = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if room(path) in MODEL_FREE
        for name in imported_rooms(path, top_level_only=True) & MODELS
    ]
    assert not found, "\n".join(found)


# -- how it reads ------------------------------------------------------------------------------------------------

SOURCES = read_sources(PACKAGE)
# Ceilings fall as files are written more plainly; none may rise.
DENSITY = 3.9  # expressions a line of code
ONE_WORD_NAMES = 0.12  # share of the functions
FILE_LINES, FUNCTION_LINES = 255, 40
CLASS_METHODS, CLASS_LINES = 15, 150
PAIRS_THAT_SHARE_LINES = 3


def test_statements_are_plain():
    assert find_density(SOURCES) <= DENSITY


def test_functions_are_named_by_verb_and_noun():
    assert find_share_of_one_word_names(SOURCES) <= ONE_WORD_NAMES


def test_no_part_is_long():
    long = [str(source.path) for source in SOURCES if len(source.text.splitlines()) > FILE_LINES]
    for source in SOURCES:
        long += [f"{source.path}: {part.name}" for part in source.functions if count_lines(part) > FUNCTION_LINES]
        for part in source.classes:
            methods = [node for node in part.body if isinstance(node, ast.FunctionDef)]
            if len(methods) > CLASS_METHODS or count_lines(part) > CLASS_LINES:
                long.append(f"{source.path}: {part.name}")
    assert not long, "\n".join(long)


def test_one_name_is_one_thing():
    shared = {name: sorted(rooms) for name, rooms in find_public_names(PACKAGE).items() if len(rooms) > 1}
    assert not shared


def test_little_is_written_twice():
    pairs = [f"{one.name} {other.name}" for one, other in find_pairs_that_share_lines(SOURCES)]
    assert len(pairs) <= PAIRS_THAT_SHARE_LINES, pairs
