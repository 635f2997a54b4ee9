"""Methods that are named after a recipe of conf/augment: what each trains with, what it refuses, and Runs of before."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genseg_betty.config import compose
from genseg_betty.errors import ConfigError
from genseg_betty.run.saved_config import find_differences, read_config

RECIPES = {
    "vanilla": "none",
    "rotate": "rotate",
    "flip": "flip",
    "translate": "translate",
    "combine": "paper",
    "combine_elastic": "elastic",
    "strong": "strong",
}
OF_BEFORE = {"_target_": "genseg_betty.methods.supervised.Supervised"}


@pytest.mark.parametrize(("method", "recipe"), RECIPES.items())
def test_a_name_stands_for_supervised_training_with_a_recipe(method: str, recipe: str) -> None:
    found, general = compose([f"method={method}"]), compose(["method=supervised", f"augment={recipe}"])
    assert found.augment == general.augment
    assert found.recipe == general.recipe == recipe
    assert found.method._target_ == general.method._target_
    assert found.method.augment == (recipe != "none")
    assert found.run_dir == f"outputs/phantom-unet-pix2pix-{method}-n9-s0"


def test_the_recipe_of_the_group_belongs_to_the_other_methods() -> None:
    for method in ("supervised", "real_twice", "genseg", "separate"):
        assert compose([f"method={method}"]).recipe == "strong"
        assert compose([f"method={method}", "augment=paper"]).recipe == "paper"
    changed = compose(["augment=elastic", "augment.rotate=30", "augment.elastic.cells=3", "augment.flip=[1]"])
    assert changed.recipe == "elastic with augment.elastic.cells=3, augment.rotate=30"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["method=combine", "augment=strong"],
            "augment=strong: method=combine comes with augment=paper; choose method=supervised augment=strong",
        ),
        (["method=vanilla", "augment=default"], "choose method=supervised augment=default"),
        (["method=flip", "augment=flip"], "augment=flip: method=flip comes with it; leave it out"),
        (
            ["method=rotate", "augment.rotate=30"],
            "augment.rotate=30: method=rotate takes augment=rotate as it is; choose method=supervised augment=rotate "
            "augment.rotate=30",
        ),
        (["method=strong", "~augment.flip"], "choose method=supervised augment=strong ~augment.flip"),
        (["method=wgan", "generator=spade"], "method=wgan comes with generator=wgan_gp; choose method=separate"),
        (["method=supervised", "method.members={augment: flip}"], "method.members.augment=flip: no such key"),
    ],
)
def test_another_recipe_is_refused_with_the_words_for_it(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match="1 problem") as raised:
        compose(words)
    assert told in str(raised.value)
    if "choose" in told:
        compose(told[told.index("choose ") :].split()[1:])


def test_an_experiment_that_changes_the_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for name, text in {"keys": "augment: {rotate: 30}", "group": "defaults: [{override /augment: elastic}]"}.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    for name, told in {"keys": "experiment=keys: it sets keys of augment", "group": "augment=elastic: "}.items():
        with pytest.raises(ConfigError, match="1 problem") as raised:
            compose(["method=flip", f"experiment={name}"], tmp_path)
        assert told in str(raised.value)
        assert "choose method=supervised" in str(raised.value)
    assert compose(["experiment=keys"], tmp_path).recipe == "strong with augment.rotate=30"
    assert compose(["experiment=group"], tmp_path).recipe == "elastic"


def test_wgan_is_separate_training_with_its_generator() -> None:
    """And keys of the generator are set as anywhere else; the Run's name says both."""
    words = ["generator.latent_channels=16", "seed=2"]
    found, general = compose(["method=wgan", *words]), compose(["method=separate", "generator=wgan_gp", *words])
    assert found.generator == general.generator
    assert found.generator.latent_channels == 16
    assert found.method == {**general.method, "name": "wgan"}
    assert found.run_dir.startswith("outputs/phantom-unet-wgan_gp-wgan-n9-s2")
    assert compose(["method=wgan"]).run_dir == "outputs/phantom-unet-wgan_gp-wgan-n9-s0"


def test_a_method_that_brings_what_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    for members in ("{augmnt: flip}", "[flip]"):
        text = f"_target_: genseg_betty.methods.supervised.Supervised\naugment: true\nmembers: {members}\n"
        (tmp_path / "method" / "mine.yaml").write_text(text)
        with pytest.raises(ConfigError, match="with groups out of") as raised:
            compose(["method=mine"], tmp_path)
        assert f"method.members={members}: expected {{group: member}}" in str(raised.value)


def config_of_before(folder: Path, method: str, augment: bool, *words: str) -> Path:
    """config.yaml as the version before wrote it: `augment` of the group for every method."""
    config = compose(["method=supervised", f"method.augment={augment}", *words])
    config.method = {"name": method, **OF_BEFORE, "augment": augment}
    del config.recipe
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    return folder


@pytest.mark.parametrize(
    ("method", "augment", "words", "today"),
    [
        ("vanilla", False, ["augment=paper"], ["method=vanilla"]),
        ("vanilla", False, ["augment=strong", "augment.rotate=3"], ["method=vanilla"]),
        ("combine", True, ["augment=paper"], ["method=combine"]),
        ("combine", True, ["augment=strong"], ["method=supervised", "augment=strong"]),
        (
            "combine",
            True,
            ["augment=paper", "augment.rotate=30"],
            ["method=supervised", "augment=paper", "augment.rotate=30"],
        ),
    ],
)
def test_a_run_of_before_goes_on_under_the_name_of_today(
    tmp_path: Path, method: str, augment: bool, words: list[str], today: list[str]
) -> None:
    old = read_config(config_of_before(tmp_path, method, augment, *words))
    assert find_differences(old, compose(today)) == []
    others = [name for name in ("vanilla", "combine", "strong") if f"method={name}" not in today]
    for other in others:
        assert find_differences(old, compose([f"method={other}"]))


def test_another_recipe_is_told_by_its_name(tmp_path: Path) -> None:
    """A Run of before had the paper's, unless told otherwise."""
    config = compose(["augment=paper"])
    del config.recipe
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(config))
    assert find_differences(read_config(tmp_path), compose([])) == ["augment: paper in the Run, strong now"]
    assert find_differences(compose(["augment.rotate=30"]), compose([])) == [
        "augment: strong with augment.rotate=30 in the Run, strong now"
    ]


def test_what_a_run_of_before_trained_with_stays(tmp_path: Path) -> None:
    """All but what a training made no use of: predictions and reports rest on it."""
    folder = config_of_before(tmp_path, "combine", True, "augment=strong", "seed=3")
    before = OmegaConf.load(folder / "config.yaml")
    after = read_config(folder)
    assert after.augment == before.augment
    assert after.method == {**before.method, "name": "supervised"}
    after.method = before.method
    assert after == before
