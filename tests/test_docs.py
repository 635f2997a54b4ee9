"""The tests that the pages in docs/ name are there, and the commands of the ablations compose."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from genseg_betty.config import Composed, all_members, compose
from genseg_betty.config.override_grammar import parse_lines
from genseg_betty.config.sweep_cells import expand_cells

ROOT = Path(__file__).parents[1]
COMPOSED: Composed = {}
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert named
    missing = [f"{file}::{name}" for file, name in named if name not in {"", *defined(ROOT / file)}]
    assert not missing


def defined(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def read_commands() -> list[str]:
    page = (ROOT / "docs" / "ablations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("command", read_commands())
def test_every_ablation_composes(command: str) -> None:
    """Each of its cells, and no two of them are the same training."""
    program, *words = shlex.split(command)
    assert program == "genseg"
    is_sweep = words[0] == "-m"
    problems: list[str] = []
    cells = expand_cells(parse_lines(words[is_sweep:], problems), all_members(), problems)
    assert not problems
    assert (len(cells) > 1) == is_sweep
    configs = [compose(cell, composed=COMPOSED) for cell in cells]
    assert len({config.run_dir for config in configs}) == len(cells)


def test_the_ablations_of_the_paper_are_there() -> None:
    """With the values of the paper where it names any."""
    page = "\n".join(read_commands())
    for expected in (
        "generator.branches=single,fixed,learnable",
        "augment=paper,rotate,flip,translate",
        "augment=paper,elastic",
        "augment.elastic=",
        "augment.rotate=0,5,15,30,45",
        "method.real_weight=",
        "generator=pix2pix,wgan_gp",
        "hypergradient=exact,exact_full,finite_difference,none",
        "method=genseg,separate",
    ):
        assert expected in page
