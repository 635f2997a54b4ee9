"""Values that once went through, or ended in a traceback: each is refused in a sentence that names its key."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from genseg_betty.config import compose, load_dataset_config
from genseg_betty.config.override_grammar import parse_lines
from genseg_betty.config.sweep_cells import expand_cells
from genseg_betty.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("dataset.intensity=[0,inf]", "dataset.intensity=[0, inf]: expected 8-bit, percentiles, each, [2 numbers]"),
        ("dataset.intensity=[nan,1]", "[nan, 1]: expected 8-bit, percentiles, each, [2 numbers] or null; it is"),
        ("dataset.intensity=[0,1e-320]", "expected a window [low, high] in file units, the lower number first"),
        ("dataset.intensity=[0,1e39]", "its size is limited to 1e+30"),
        ("dataset.ignore={a: b}", "dataset.ignore={a: b}: phantom has no such key, it belongs to files; leave"),
        ("dataset.group_starts=[[1]]", "dataset.group_starts=[[1]]: phantom has no such key"),
        ("augment.rotate=" + "9" * 309, "expected a number from 0 to 180; it does not fit into 64 bits"),
        ("augment.rotate=" + "9" * 5000, "augment.rotate=99999"),
        ("augment.rotate=1e400", "augment.rotate=inf: expected a number from 0 to 180; it is not finite"),
        ("trainer.optimizers.segmenter.lr=inf", "segmenter.lr=inf: expected a number at least 0; it is not finite"),
        ("trainer.optimizers.segmenter.lr=1e9", "segmenter.lr=1000000000.0: expected a number at least 0; its size is"),
        ("trainer.optimizers.segmenter.eps=1e-300", "segmenter.eps=1e-300: expected a number from 1e-16 to 1"),
        ("trainer.iterations=1e300", "trainer.iterations=1e+300: expected an integer at least 0; it does not fit"),
        ("trainer.iterations=true", "trainer.iterations=true: expected an integer at least 0"),
        ("trainer.iterations='3'", "trainer.iterations=3: expected an integer at least 0"),
        ("trainer.batch_size=1000000", "trainer.batch_size=1000000: expected an integer at least 1 or null; its size"),
        ("trainer.small=[{a: b}]", "trainer.small=[{a: b}]: expected a section {key: value, …} with keys out of"),
        ("image_size=1000000", "image_size=1000000: expected an integer from 32 to 4096, [2 integers"),
        ("image_size=[4096,4096,4096]", "these are 68719476736 voxels, and 134217728 are the most"),
        ("seed=4294967296", "seed=4294967296: expected an integer at least 0 and below 4294967296"),
        ("seed=???", "seed=???: expected an integer"),
        ("name=???", "name=???: expected text or null; ??? stands for a value that is still to be given"),
        ("name=a\0b", "name=a\\x00b: expected text or null; it holds the control character (\\x00)"),
        ("name=a\nb", "name=a\\nb: expected text or null; it holds the control character (\\n)"),
        ("name=\x1b[31m", "name=\\x1b[31m: expected text or null; it holds the control character (\\x1b)"),
        ("name=", "name=: expected text or null; it is empty"),
        ("name=" + "x" * 201, "it has 201 characters, and 200 are the most"),
        ("name=\\${x}", "it holds ${, which would be taken for the name of another key"),
        ("name=${oc.env:NOT_SET_ANYWHERE}", "name: an interpolation cannot be resolved: Environment variable 'NOT_SET"),
        ("name='${x'", "name='${x': no viable alternative at input"),
        ("name=${nores:1}", "name: an interpolation cannot be resolved: Unsupported interpolation type nores"),
        ("name=${name}", "name: an interpolation cannot be resolved: Recursive interpolation detected"),
        ("dataset.root=", "dataset.root=: expected text or null; it is empty"),
        ("dataset.root=\udcff", "it holds a byte that is no UTF-8 text (\\udcff)"),
        ("dataset.root=~nobody-of-this-name/x", "expected text or null; there is no user nobody-of-this-name"),
        ("dataset.root=" + "x" * 256, "one of its names has 256 bytes, and 255 are the most"),
        ("dataset.name=../x", "dataset.name=../x: expected text; it names a folder elsewhere; expected a name"),
        ("dataset.split.test=[/abs/*]", "the pattern /abs/* leads out of the dataset's root; write it relative to"),
        ("dataset.unlabelled=['../*']", "the pattern ../* leads out of the dataset's root"),
        ("dataset.labels={a: 0, b: 65536}", "expected {name: an integer from 0 to 65535, …}, {name: [3"),
        ("run_dir=/", "the files of a Run would lie among those of the whole system; name a folder of its own"),
        ("run_dir=/tmp/..", "the files of a Run would lie among those of the whole system; name a folder of its own"),
        ("run_dir=/dev/null", "run_dir=/dev/null: /dev/null is a file; expected a folder, new or of a Run"),
        (f"run_dir={__file__}/x", "is a file; expected a folder, new or of a Run"),
        ("generator.kernels=[4]", "generator.kernels=[4]: no such key"),
        ("backbone._target_=" + "x" * 5000, "it has 5000 characters, and 200 are the most"),
        ("backbone._target_=..x", "backbone._target_=..x: cannot be used (TypeError: "),
        ("a=" + "[" * 1000 + "]" * 1000, "cannot be used; it is nested too deeply"),
        ("a=" + "[" * 20 + "]" * 20, "cannot be used; it is nested more than 16 deep"),
        ("a" * 201 + "=1", "too long; a key has at most 200 characters, a value 100000"),
        ("=1", "=1: cannot be read; expected key=value"),
        ("a..b=1", "a..b=1: cannot be read"),
        ("dataset.about={licence: 1e400}", "expected {name: a value, …}; licence: it is not finite"),
        ("backbone=" + "x" * 5000, "… (5000 characters): no such backbone; choose"),
    ],
    ids=lambda text: text[:40].encode("unicode_escape").decode(),
)  # fmt: skip
def test_each_is_told_once(toys: Any, override: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        toys.compose(override)
    told = [found for found in caught.value.problems if problem in found]
    assert len(told) == 1, caught.value
    assert told[0].isprintable()


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("range=[5,5]", "dataset.range=[5.0, 5.0]: expected [black, white], white above black"),
        ("range=[0,inf]", "dataset.range=[0, inf]: expected [2 numbers] or null; it is not finite"),
        ("images=['']", "dataset.images=[]: expected [text, …]; it is empty"),
        ("ignore={a: b}", "dataset.ignore={a: b}: expected [text, …]"),
        ("masks=5", "dataset.masks=5: expected [text, …]"),
        ("group_starts=[9223372036854775808]", "it does not fit into 64 bits"),
        ("stem=", "dataset.stem=: expected text or null; it is empty"),
        ("images=[]", "dataset.images: missing; expected patterns below the root, such as ['images/*.*']"),
        ("reader=phantom", "dataset.masks, dataset.range: phantom has no such keys, they belong to files; leave"),
    ],
)
def test_of_a_dataset_of_files(key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset_config("folder", overrides=[key])
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]


@pytest.mark.parametrize(
    ("kernels", "problem"),
    [
        ("[4]", "generator.kernels=[4]: a cell has nothing to choose from; expected two or more sizes, or"),
        ("[4,4]", "generator.kernels=[4, 4]: expected even sizes in rising order"),
        ("[5,7]", "generator.kernels=[5, 7]: expected even sizes in rising order"),
        ("[]", "generator.kernels=[]: expected [an integer at least 2, …]; it is empty"),
    ],
)
def test_kernels_of_a_cell(kernels: str, problem: str) -> None:
    with pytest.raises(ConfigError, match="1 problem") as caught:
        compose([f"generator.kernels={kernels}"])
    assert problem in caught.value.problems[0]
    assert compose(["generator.kernels=[4]", "generator.branches=single"]).generator["kernels"] == [4]


def test_values_of_other_datasets_reach_the_data_as_they_were_checked(toys: Any) -> None:
    config = toys.compose("ood=[{name: nlm_mc, n_test: 5.0, root: 2018}]")
    assert OmegaConf.to_container(config.ood) == [{"name": "nlm_mc", "n_test": 5, "root": "2018"}]
    assert type(config.ood[0].n_test) is int


def test_the_last_of_several_lines_counts(toys: Any) -> None:
    assert toys.compose("seed=1", "seed=2").seed == 2
    assert toys.compose("seed=x", "seed=2").seed == 2
    assert toys.compose("dataset=nlm_sz", "dataset=nlm_mc").dataset.name == "nlm_mc"


def test_minus_zero_is_zero(toys: Any) -> None:
    assert str(toys.compose("augment.rotate=-0.0").augment.rotate) == "0.0"


def test_other_arguments_of_ones_own_code_need_only_be_plain(toys: Any) -> None:
    lines = ["backbone._target_=genseg_toys.anything", "backbone.depth=1e12", "backbone.window={a: [1, x]}"]
    assert toys.compose(*lines).backbone.depth == 1e12
    with pytest.raises(ConfigError, match=r"backbone\.mine=\[inf\]: expected a value; it is not finite"):
        toys.compose("backbone._target_=genseg_toys.anything", "backbone.mine=[inf]")


def test_an_interpolation_that_leads_nowhere_does_not_hide_other_faults(toys: Any) -> None:
    with pytest.raises(ConfigError, match="3 problems") as caught:
        toys.compose("name=${x}", "seed=-1", "dataset.title=${y}")
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {"name", "dataset.title", "seed=-1"}


@pytest.mark.parametrize(
    "text",
    ["name: [unclosed\n", "\t- x", "- 1\n- 2\n", "name: \xff\n", "{" * 3000, "a: &a [*a]\n", "defaults: [nowhere]\n"],
)
def test_yaml_files_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError):
        load_dataset_config("mine", config_dir=tmp_path)


@pytest.mark.parametrize("line", ["seed=range(0,1000000000)", "seed=range(0,1e400)", "seed=range(1,9,0)"])
def test_sweeps_without_end(line: str) -> None:
    problems: list[str] = []
    assert expand_cells(parse_lines([line], problems), {}, problems) == []
    assert len(problems) == 1
