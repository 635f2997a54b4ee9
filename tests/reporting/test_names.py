"""The names of phases and metrics: one file has them, and a training writes no others."""

import ast
from pathlib import Path

import pytest

import genseg_betty
from genseg_betty.run import Run, names
from genseg_betty.run.names import AlphaName

PACKAGE = Path(genseg_betty.__file__).parent
LEVELS = {names.DISCRIMINATOR, names.GENERATOR, names.SEGMENTER, names.ARCHITECTURE}
MEASURED = {
    names.VALIDATION_PHASE: {*names.SCORES, names.LOSS},
    names.ARCHITECTURE_PHASE: {names.GRADIENT_NORM},
    names.SYSTEM_PHASE: {names.SECONDS, names.MEMORY_BYTES, *map(names.name_skipped, LEVELS)},
}
# Words that name nothing else in the package, neither a key of the config nor one of a file.
ONLY_HERE = {names.WARMUP_PHASE, names.JOINT_PHASE, names.MEMORY_BYTES, names.SKIPPED_PREFIX}


def is_known(phase: str, name: str) -> bool:
    if phase in (names.WARMUP_PHASE, names.JOINT_PHASE, names.SEGMENTATION_PHASE):
        return name in LEVELS
    is_alpha = phase == names.ARCHITECTURE_PHASE and AlphaName.parse_metric(name) is not None
    return is_alpha or name in MEASURED[phase]


@pytest.mark.parametrize("method", ["vanilla", "separate", "genseg"])
def test_a_training_writes_known_metrics_alone(real_runs: dict[str, Path], method: str) -> None:
    rows = Run.open(real_runs[method]).metrics()
    assert not [row for row in rows if not is_known(row["phase"], row["name"])]


def test_what_is_measured_is_written(real_runs: dict[str, Path]) -> None:
    rows = Run.open(real_runs["genseg"]).metrics()
    for phase, expected in MEASURED.items():
        assert expected <= {row["name"] for row in rows if row["phase"] == phase}


def test_no_name_is_written_out_elsewhere() -> None:
    for file in PACKAGE.rglob("*.py"):
        if file == Path(names.__file__):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not ONLY_HERE & texts, file


@pytest.mark.parametrize("name", ["down.0.conv_421", "up.12.upconv_823"])
def test_the_name_of_an_alpha_is_that_of_its_parts(name: str) -> None:
    assert str(AlphaName.parse_metric(name)) == name


@pytest.mark.parametrize("name", ["gradient_norm", "left.0.conv_421", "up.x.conv_421", "up.1.2.conv_421", "up.0."])
def test_other_metrics_are_no_alpha(name: str) -> None:
    assert AlphaName.parse_metric(name) is None
