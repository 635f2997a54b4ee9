"""Experiments that are sweeps: every one composes; their cells have names by what they train, and need their data."""

from pathlib import Path

import pytest

from genseg_betty.config import compose, group_members
from genseg_betty.config.experiments import read_params
from genseg_betty.config.folders import dataset_names
from genseg_betty.errors import ConfigError
from genseg_betty.sweep import run_sweep
from genseg_betty.sweep.checking import plan_sweep

FIGURES = [name for name in group_members("experiment") if read_params(name, None)]
OF_THE_PAPER = {"fig02", "fig03", "fig04", "fig05", "fig06", "fig07", "fig08a", "fig08c", "fig08d", "fig08e", "fig08f",
                "fig08g", "fig09", "fig09e", "fig10a", "fig10b", "fig10d", "fig10e", "fig10f"}  # fmt: skip


def first_cell(name: str) -> list[str]:
    """The first value of every key that an experiment sweeps over."""
    return [
        f"experiment={name}",
        *(f"{key}={str(values).split(',')[0]}" for key, values in read_params(name, None).items()),
    ]


def test_every_figure_of_the_paper_has_an_experiment() -> None:
    assert {name.partition("_")[0] for name in FIGURES} == OF_THE_PAPER


def test_every_experiment_stands_in_a_folder_with_its_command() -> None:
    pages = (Path(__file__).parents[2] / "experiments").glob("fig*/README.md")
    told = {page.parent.name: page.read_text(encoding="utf-8") for page in pages}
    assert {folder.partition("_")[0] for folder in told} == OF_THE_PAPER
    for name in FIGURES:
        (folder,) = [folder for folder, text in told.items() if f"genseg -m +experiment={name} scale=quick" in text]
        assert folder.partition("_")[0] == name.partition("_")[0]


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("name", FIGURES)
def test_an_experiment_composes_at_each_scale(name: str, scale: str) -> None:
    config = compose([*first_cell(name), f"scale={scale}"])
    assert config.trainer.name == scale
    params = read_params(name, None)
    assert config.dataset.name == params["dataset"].split(",")[0]
    assert set(params["dataset"].split(",")) <= set(dataset_names())


@pytest.mark.parametrize("name", FIGURES)
def test_the_recipe_is_the_papers_where_a_method_takes_any(name: str) -> None:
    config = compose([*first_cell(name), "method=genseg"])
    assert config.recipe.partition(" ")[0] == "paper"


@pytest.mark.parametrize("method", ["vanilla", "strong", "cross_teaching"])
def test_a_method_of_its_own_recipe_or_two_networks_has_the_name_of_the_same_training(method: str) -> None:
    words = ["dataset=fuseg", "backbone=unet_classic", f"method={method}", "seed=0"]
    ours = compose(["experiment=fig06_semi_supervised", "scale=quick", *words])
    recipe = ["augment=paper"] if method == "cross_teaching" else []
    assert ours.run_dir == compose([*words, *recipe, "trainer=quick", "trainer.small.encoder_weights=null"]).run_dir


def test_a_cell_has_the_name_of_the_same_training_in_other_words() -> None:
    words = ["dataset=isic", "backbone=deeplab", "method=genseg", "seed=0"]
    ours = compose(["experiment=fig05_augmentation", "scale=quick", *words])
    assert ours.run_dir == compose(["experiment=fig07_end_to_end", "scale=quick", *words]).run_dir
    plain = ["trainer=quick", "trainer.small.encoder_weights=null", "augment=paper", "ood=[ph2,dermis,dermquest]"]
    assert ours.run_dir == compose([*words, *plain]).run_dir
    assert ours.run_dir != compose([*words, *plain[:-1]]).run_dir
    assert compose(["experiment=fig05_augmentation", *words]).run_dir != ours.run_dir


def test_methods_keep_their_recipe_in_a_sweep_over_several() -> None:
    words = ["experiment=fig05_augmentation", "dataset=isic", "backbone=unet_classic", "seed=0"]
    recipes = {
        method: compose([*words, f"method={method}"]).recipe for method in ("vanilla", "rotate", "strong", "genseg")
    }
    assert recipes == {"vanilla": "none", "rotate": "rotate", "strong": "strong", "genseg": "paper"}
    with pytest.raises(ConfigError, match="augment=elastic: method=rotate comes with augment=rotate"):
        compose([*words, "method=rotate", "augment=elastic"])  # what is asked for is refused as ever


def test_a_dataset_has_the_test_sets_of_the_experiment() -> None:
    words = ["experiment=fig02_domains", "backbone=deeplab", "method=genseg", "seed=0"]
    found = {name: compose([*words, f"dataset={name}"]).ood for name in ("isic", "jsrt", "fuseg")}
    assert found == {"isic": ["ph2", "dermis", "dermquest"], "jsrt": ["nlm_mc", "nlm_sz"], "fuseg": []}
    assert compose([*words, "dataset=isic", "ood=[ph2]"]).ood == ["ph2"]


@pytest.mark.parametrize("found", ["[isic]", "{isc: [ph2]}"])
def test_test_sets_by_dataset_are_checked(found: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\nood_of: {found}\n")
    with pytest.raises(ConfigError, match=r"ood_of=.*: expected \{dataset: \[others\], …\} with names of datasets"):
        compose(["experiment=mine"], tmp_path)


def test_what_is_not_there_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENSEG_DATA", str(tmp_path))
    for name in ("isic", "ph2"):
        (tmp_path / name).mkdir()
    words = ["experiment=fig02_domains", "dataset=isic,fuseg,phantom", "backbone=unet_classic", "seed=0"]
    plan = plan_sweep([*words, "method=vanilla"], None)
    assert [cell.settings for cell in plan.cells] == [{"dataset": "isic"}, {"dataset": "phantom"}]
    assert [cell.overrides[-1] for cell in plan.cells] == ["ood=[ph2]", "method=vanilla"]
    left_out, *untested = plan.notes
    assert left_out.startswith("left out, 1 of 3 cells: dataset fuseg: no folder at ")
    assert [note.partition(": no folder at ")[0] for note in untested] == [
        "not tested on: ood: dataset dermis",
        "not tested on: ood: dataset dermquest",
    ]
    with pytest.raises(ConfigError, match="no folder"):  # nothing is left
        plan_sweep([*words, "method=vanilla", "dataset=fuseg"], None)


def test_a_parameter_that_is_no_mapping_is_told(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("hydra: {sweeper: {params: [seed]}}\n")
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.params is \['seed'\]; expected keys with their values"):
        compose(["experiment=mine"], tmp_path)


SMALLEST = ["trainer.iterations=2", "trainer.warmup_iterations=2", "trainer.finetune_iterations=1", "image_size=32"]
ON_PHANTOM = {"dataset": "phantom", "seed": "0", "dataset.n_labelled": "5,9", "backbone": "unet_classic"}
DRAWN = [name for name in FIGURES if name not in ("fig08a_nnunet", "fig08d_volumes")]  # which need nnU-Net, volumes


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_an_experiment_ends_with_its_figure(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At scale=quick on the phantom, with the first and the last value of each key, and two steps."""
    monkeypatch.chdir(tmp_path)
    words = []
    for key, values in read_params(name, None).items():
        listed = str(values).split(",")
        ends = ",".join(dict.fromkeys([listed[0], listed[-1]]))
        words.append(f"{key}={ON_PHANTOM.get(key, ends)}")
    words += [*SMALLEST, "dataset.n_test=2"]
    assert run_sweep([f"experiment={name}", "scale=quick", *words]) == 0
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert folder.name.startswith(f"{name}-")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert (folder / "report.md").read_text(encoding="utf-8").startswith("| method | phantom")
    figures = list((folder / "report-figures").iterdir())
    tables = {".tex"} if "Comparison of" in page else set()  # fig08g_cost on one data set is one Run
    assert {file.suffix for file in figures} == {".svg", ".pdf", *tables}
    assert bool(tables) == (name != "fig08g_cost")
