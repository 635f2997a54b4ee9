"""Composing and checking configs. Most tests choose toy components, which import in no time."""

import copy
import re
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from genseg_betty import config as config_module
from genseg_betty.config import (
    compose,
    conf_dir,
    dataset_names,
    group_members,
    group_names,
    load_dataset_config,
    require_betty,
)
from genseg_betty.errors import ConfigError, UserError


def problems_of(toys: Any, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        toys.compose(*overrides)
    return list(caught.value.problems)


def test_defaults_compose(toys: Any) -> None:
    config = toys.compose()
    assert config.dataset.name == "phantom"
    assert config.trainer.iterations == OmegaConf.load(conf_dir() / "trainer" / "default.yaml").iterations
    assert config.image_size == config.dataset.image_size
    assert config.config_dir == str(toys.folder)
    assert "hydra" not in config
    assert not OmegaConf.missing_keys(config)


def test_left_out_keys_are_filled_in(toys: Any) -> None:
    config = toys.compose()
    assert config.trainer.optimizers.segmenter.betas == [0.9, 0.999]
    assert config.generator.discriminator._target_.endswith("PatchDiscriminator")
    assert config.generator.objective._target_.endswith("ConditionalGAN")
    assert "name" not in config.augment


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_plus_signs_make_no_difference(toys: Any, prefix: str) -> None:
    lines = ["dataset=folder", "dataset.root=/data/x", "trainer=quick", "seed=3", "backbone.encoder=b"]
    assert toys.compose(*[prefix + line for line in lines]) == toys.compose(*lines)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("trainer.iterations=many", "trainer.iterations=many: expected an integer at least 0"),
        ("trainer.iterations=2.5", "trainer.iterations=2.5: expected an integer at least 0"),
        ("trainer.iterations=-1", "trainer.iterations=-1: expected an integer at least 0"),
        ("trainer.ema_decay=1", "trainer.ema_decay=1: expected a number at least 0 and below 1"),
        ("trainer.select=lst", "trainer.select=lst: expected last or best"),
        ("device=gpu", "device=gpu: expected auto, cpu or cuda"),
        ("seed=null", "seed=null: expected an integer at least 0 and below 4294967296"),
        ("hypergradient=null", "expected exact, exact_full, finite_difference or none"),
        ("image_size=[64]", "expected an integer from 32 to 4096, [2 integers from 32 to 4096], [3 integers"),
        ("dataset.n_labelled=1", "dataset.n_labelled=1: expected an integer at least 2 or null"),
        ("dataset.labels={a: b}", "{a: b}: expected {name: an integer from 0 to 65535, …}, {name: [3 integers"),
        ("dataset.labels={a: 0, b: [1, 2, 3]}", "expected {name: an integer from 0 to 65535, …}, {"),
        ("dataset.labels={a: [0, 0, 0], b: [0, 0, 256]}", "expected {name: an integer from 0 to 65535, …}, {"),
        ("dataset.split={tset: [a]}", "dataset.split.tset=[a]: no such key; did you mean dataset.split.test ([text,"),
        ("dataset.split=mine.json", "dataset.split=mine.json: expected a section {key: value, …} with keys out of"),
        ("dataset.folds=1", "dataset.folds=1: expected an integer at least 2, all or null"),
        ("dataset.folds=5", "dataset.fold: missing; dataset.folds=5 needs the part to test on, 0 to 4"),
        ("dataset.folds=all", "dataset.fold: missing; dataset.folds=all needs the part to test on, 0 to one less"),
        ("dataset.fold=1", "dataset.fold=1: which of how many? Set dataset.folds"),
        ("dataset.foreground=[a]", "dataset.foreground=[a]: there are no labels to choose from; expected"),
        ("dataset.group=patient", "is the patient or video in an image's path; it holds no parenthesis"),
        ("dataset.threshold=127", "dataset.threshold=127: phantom has no such key"),
        ("backbone.base_channels=0", "backbone.base_channels=0: expected an integer at least 1"),
        ("backbone.encoder=[1]", "backbone.encoder=[1]: expected text"),
        ("generator.searched=decodr", "generator.searched=decodr: expected both, decoder or encoder"),
        ("method.real_weight=-1", "method.real_weight=-1: expected a number at least 0"),
        ("augment.rotate=270", "augment.rotate=270: expected a number from 0 to 180"),
        ("trainer.optimizers.segmenter.lr=-1", "trainer.optimizers.segmenter.lr=-1: expected a number at least 0"),
        ("trainer.optimizers.segmenter=3", "segmenter=3: expected a section {name: …, …}; name is adam,"),
        ("trainer.optimizers.segmenter.name=lion", "found lion; expected adam, adamw, rmsprop or sgd"),
        ("trainer.optimizers.segmenter={name: sgd}", "trainer.optimizers.segmenter.lr: missing; expected a"),
        ("trainer.optimizers.generator.name=sgd", "what the YAML says with ~trainer.optimizers.generator.betas"),
        ("~trainer.iterations", "trainer.iterations: missing; expected an integer at least 0"),
        ("~trainer.iteration", "~trainer.iteration: there is no such key to drop"),
        ("trainer=[1]", "trainer=[1]: no such trainer"),
        ("trainer.itertions=5", "trainer.itertions=5: no such key; did you mean trainer.iterations (an"),
        ("iterations=5", "no such key; did you mean trainer.iterations (an integer at least 0)?"),
        ("trainr.batch_size=5", "no such key; did you mean trainer.batch_size (an integer at least 1 or null)?"),
        ("lr=5", "no such key; did you mean trainer.optimizers."),
        ("data=isic", "data=isic: no such key; did you mean dataset?"),
        ("dataset.zzz=5", "dataset.zzz=5: no such key; dataset has name, "),
        ("backbone.encodr=a", "no such key; did you mean backbone.encoder (text)?"),
        ("trainer.optimizers.segmenter.larning=1", "no such key; trainer.optimizers.segmenter has name,"),
        ("dataset=xyzzy", "dataset=xyzzy: no such dataset; choose "),
        ("trainer=quik", "trainer=quik: no such trainer; did you mean quick? Choose default, paper or quick"),
        ("backbone=null", "backbone=null: no such backbone; choose "),
        ("~backbone", "~backbone: a group cannot be dropped"),
        ("ood=[nlm_mx]", "ood: nlm_mx: no such dataset; did you mean nlm_mc? Choose "),
        ("ood=[{name: nlm_mc, roots: /x}]", "ood: nlm_mc: roots=/x: no such key; did you mean root (text"),
        ("ood=nlm_mc", "ood=nlm_mc: expected [text or {name: a value, …}, …]"),
        ("seed=1,2", "several values; -m trains one Run for each; a list is written seed=[a,b], and text"),
        ("seed=range(3)", "seed=range(3): several values"),
        ("dataset", "dataset: cannot be read; expected key=value"),
        ("dataset.root=[a", "dataset.root=[a: cannot be read; close every bracket and quote"),
        ("backbone@x=unet", "backbone@x=unet: cannot be read"),
        ("seed.x=3", "seed={x: 3}: expected an integer"),
        ("backbone._target_=torch", "backbone._target_=torch: cannot be used (it names no module)"),
        ("backbone._target_=no.such", "cannot be used (No module named 'no'); expected module.name"),
        ("backbone._target_=math.pi", "cannot be used (pi is a float)"),
        ("backbone._target_=genseg_toys.broken.net", "cannot be used (ZeroDivisionError: division"),
        ("backbone._target_=genseg_toys.closed", "must take the arguments in_channels, num_outputs"),
        ("backbone._target_=genseg_toys.needy", "backbone.depth: missing; genseg_toys.needy needs an"),
        ("name=${seeed}", "an interpolation cannot be resolved"),
        ("name=${PATH}", "'PATH' not found; did you mean ${oc.env:PATH}, of the environment?"),
        ("hydra.sweep.dir=/x", "hydra.sweep.dir=/x: Hydra's own settings count with -m alone; the directory of a Run"),
        ("seed='3'", "seed=3: expected an integer at least 0 and below 4294967296; did you mean 3, without quotes?"),
        ("seed=٣", "and below 4294967296; did you mean 3?"),
        ("image_size=64x96", "or null; did you mean [64, 96]?"),
        ("image_size='[64, 96]'", "or null; did you mean [64, 96], without quotes?"),
        ("device=CPU", "did you mean cpu?"),
        ("device=gpu", "did you mean cuda?"),
        ("hypergradient=off", "did you mean none?"),
        ("resume=true", "did you mean auto?"),
        ("ood=nlm_mc", "did you mean [nlm_mc]?"),
        ("dataset.labels=[background, ulcer]", "did you mean {background: 0, ulcer: 1}?"),
        ("dataset.labels={0: background, 1: ulcer}", "did you mean {background: 0, ulcer: 1}?"),
        ("dataset.root=/x", "dataset.root=/x: phantom is drawn, not read; add dataset=folder to read images from"),
        ("SEED=3", "SEED=3: no such key; did you mean seed ("),
        ("epochs=3", "did you mean trainer.iterations ("),
        ("n_train=3", "did you mean dataset.n_labelled ("),
        ("trainer.optimizer=adam", "trainer.optimizer=adam: no such key; did you mean trainer.optimizers?"),
        ("trainer.lr=1", "did you mean trainer.optimizers.segmenter.lr ("),
        ("x.y.z=1", "x.y.z=1: no such key; genseg --cfg shows all keys"),
        ("backbone=DeepLab", "no such backbone; did you mean deeplab?"),
        ("dataset=/data/scans", "no such dataset; did you mean dataset=folder dataset.root=/data/scans?"),
        ("method.name=vanilla", "method.name=vanilla: this is the name alone, toy stays; choose method=vanilla"),
        ("~seed=3", "~seed=3: seed is 0; ~seed drops it, seed=… sets it"),
        ("seed =3", "seed =3: cannot be read; leave out the spaces: seed=3"),
        ("+++seed=3", "cannot be read; expected key=value, the key made of letters"),
        ("ood=[nlm_mc,]", "cannot be read; close every bracket and quote, and end no list with a comma"),
        ("trainer.small.base_channels=0", "trainer.small.base_channels=0: expected an integer at least 1 or null"),
        ("dataset.kind=lungs", "dataset.kind=lungs: expected lung, lesion or vessel; did you mean lung?"),
        ("ood=[{root: /x}]", "ood: {root: /x}: expected the name of a dataset, or {name: …, root: …}"),
    ],
)  # fmt: skip
def test_each_fault_is_told(toys: Any, override: str, problem: str) -> None:
    found = problems_of(toys, override)
    assert len(found) == 1
    assert problem in found[0]


def test_leftovers_of_another_reader_are_one_line(toys: Any) -> None:
    found = problems_of(toys, "dataset.reader=files")
    assert len(found) == 3  # and no patterns for images and masks
    assert "dataset.count, dataset.domain, dataset.kind, dataset.seed, dataset.size: files has no such keys" in found[0]


def test_all_faults_are_told_at_once(toys: Any) -> None:
    lines = ["backbone=toi", "seed=-1", "trainer.itertions=3", "generator.searched=x", "oops", "ood=[nlm_mx]"]
    found = problems_of(toys, *lines)
    assert len(found) == len(lines)
    for word in ("backbone=toi", "seed=-1", "trainer.itertions", "generator.searched", "oops", "nlm_mx"):
        assert sum(word in problem for problem in found) == 1
    with pytest.raises(UserError, match=r"^6 problems in the configuration:\n  - oops: cannot be read"):
        toys.compose(*lines)


def test_keys_of_a_member_that_is_unknown_are_not_held_against_the_default(toys: Any) -> None:
    assert len(problems_of(toys, "dataset=qqqqqq", "dataset.images=['*.png']")) == 1


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("trainer.iterations=1e3", "trainer.iterations", 1000),
        ("dataset.root=~/scans", "dataset.root", "~/scans"),
        ("dataset.root=/data/set (1)/ä=b", "dataset.root", "/data/set (1)/ä=b"),
        ("dataset.root='/data/a,b'", "dataset.root", "/data/a,b"),
        (r"dataset.group=(P\d+)_", "dataset.group", r"(P\d+)_"),
        ("dataset.root=/data/[1]/o'brien", "dataset.root", "/data/[1]/o'brien"),
        ("dataset.root=C:\\scans (1)\\", "dataset.root", "C:\\scans (1)\\"),
        ("dataset.labels={background: 0, ulcer: 7}", "dataset.labels", {"background": 0, "ulcer": 7}),
        ("image_size=[64, 96]", "image_size", [64, 96]),
        ("ood=[nlm_mc]", "ood", ["nlm_mc"]),
        ("ood=[{name: nlm_mc, root: /x}]", "ood", [{"name": "nlm_mc", "root": "/x"}]),
        ("trainer.optimizers.segmenter={lr: 0.5}", "trainer.optimizers.segmenter.name", "adam"),
        ("trainer.optimizers.generator={name: sgd, lr: 0.5}", "trainer.optimizers.generator.momentum", 0.0),
        ("generator.discriminator={layers: 2}", "generator.discriminator.layers", 2),
        ("generator.discriminator=null", "generator.discriminator", None),
        ("name=${dataset.name}", "name", "phantom"),
        ("experiment=null", "seed", 0),
        ("~seed=0", "seed", 0),
        ("method.name=mine", "method.name", "mine"),
        ("backbone._target_=genseg_toys.anything", "backbone.base_channels", 64),
    ],
)
def test_values_arrive(toys: Any, override: str, key: str, value: Any) -> None:
    dataset = ["dataset=folder"] if key == "dataset.root" else []
    found = OmegaConf.select(toys.compose(*dataset, override), key)
    assert found == value


def test_labels_given_replace_the_ones_of_the_dataset(toys: Any) -> None:
    lines = ["dataset.labels={background: 0, polyp: 1}", "dataset.labels={background: 0, ulcer: 2}"]
    assert toys.compose(*lines).dataset.labels == {"background": 0, "ulcer": 2}


def test_run_dir_says_what_is_trained(toys: Any) -> None:
    lines = ["dataset=nlm_sz", "seed=3", "dataset.n_labelled=12", "resume=never", "augment=strong"]
    lines += ["backbone=unet_classic", "generator=pix2pix", "method=toy"]
    assert toys.compose(*lines).run_dir == "outputs/nlm_sz-unet_classic-pix2pix-toy-n12-s3"


def test_run_dir_of_a_dataset_that_counts_for_itself(toys: Any) -> None:
    assert "-nauto-s0" in toys.compose("dataset=folder").run_dir


def test_run_dir_given_is_kept(toys: Any) -> None:
    assert toys.compose("run_dir=here/there").run_dir == "here/there"


def test_run_dir_hash(toys: Any) -> None:
    def run_dir(*lines: str) -> str:
        return str(toys.compose(*lines).run_dir)

    one = run_dir("trainer.iterations=50", "trainer.batch_size=2")
    assert re.fullmatch(r"outputs/phantom-toy-toy-toy-n\w+-s0-[0-9a-f]{8}", one)
    assert one == run_dir("++trainer.batch_size=2", "trainer.iterations=50", "trainer.select=last")
    assert one == run_dir("trainer.iterations=7", "trainer.iterations=5e1", "trainer.batch_size=2")
    different = [
        one,
        run_dir(),
        run_dir("trainer.iterations=50"),
        run_dir("trainer=quick"),
        run_dir("trainer.batch_size=50"),
        run_dir("~trainer.max_nonfinite", "trainer.iterations=50", "trainer.batch_size=3"),
        run_dir("dataset=folder", "dataset.root=/a"),
        run_dir("dataset=folder", "dataset.root=/b"),
        run_dir("device=cpu"),
    ]
    assert len(set(different)) == len(different)


def test_an_experiment_has_a_directory_of_its_own(toys: Any) -> None:
    (toys.folder / "experiment").mkdir(exist_ok=True)
    (toys.folder / "experiment" / "try.yaml").write_text(
        "# @package _global_\ndefaults: [override /trainer: quick]\nseed: 5\ntrainer: {batch_size: 2}\n"
    )
    config = toys.compose("experiment=try")
    assert (config.seed, config.trainer.name, config.trainer.batch_size) == (5, "quick", 2)
    assert config.run_dir == toys.compose("experiment=try", "trainer=quick", "trainer.batch_size=2").run_dir
    assert config.run_dir != toys.compose("experiment=try", "trainer=default").run_dir
    assert config.run_dir != toys.compose("trainer=quick", "seed=5").run_dir


def test_quick_makes_networks_small_that_have_a_width(toys: Any) -> None:
    config = toys.compose("trainer=quick", "generator=pix2pix")
    small = OmegaConf.load(conf_dir() / "trainer" / "quick.yaml").small
    assert config.image_size == small.image_size
    assert config.backbone.base_channels == small.base_channels
    assert config.generator.base_channels == small.base_channels
    assert config.generator.max_channels == small.max_channels
    assert config.generator.discriminator.base_channels == small.base_channels
    assert "base_channels" not in toys.compose("trainer=quick", "backbone=fixed").backbone
    own = toys.compose("trainer=quick", "backbone.base_channels=24", "image_size=96")
    assert (own.backbone.base_channels, own.image_size) == (24, 96)


@pytest.mark.parametrize("trainer", ["default", "paper", "quick"])
def test_optimizers_are_what_torch_takes(toys: Any, trainer: str) -> None:
    kinds = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "sgd": torch.optim.SGD,
    }
    config = toys.compose(f"trainer={trainer}")
    for section in OmegaConf.to_container(config.trainer.optimizers).values():
        section = copy.copy(section)
        kinds[section.pop("name")]([torch.zeros(1, requires_grad=True)], **section)


def test_the_papers_settings(toys: Any) -> None:
    trainer = toys.compose("trainer=paper").trainer
    segmenter, generator = trainer.optimizers.segmenter, trainer.optimizers.generator
    architecture = trainer.optimizers.architecture
    assert (trainer.iterations, trainer.select, trainer.scheduler) == (5000, "best", "plateau")
    assert (segmenter.name, segmenter.lr, segmenter.momentum, segmenter.weight_decay) == (
        "rmsprop",
        1e-5,
        0.9,
        1e-3,
    )
    assert (generator.name, generator.lr, generator.betas, generator.weight_decay) == (
        "adam",
        1e-5,
        [0.5, 0.999],
        1e-3,
    )
    assert (architecture.lr, architecture.betas, architecture.weight_decay) == (1e-4, [0.5, 0.999], 1e-5)


@pytest.mark.parametrize("group", [g for g in group_names() if g not in ("backbone", "generator", "method", "augment")])
def test_every_member_composes(toys: Any, group: str) -> None:
    for member in group_members(group):
        toys.compose(f"{group}={member}")


@pytest.mark.parametrize("group", ["backbone", "generator", "method", "augment"])
@pytest.mark.parametrize("trainer", ["default", pytest.param("quick", marks=pytest.mark.slow)])
def test_every_component_composes_and_fits_its_code(toys: Any, group: str, trainer: str) -> None:
    for member in group_members(group):
        lines = [f"{group}={member}", f"trainer={trainer}"]
        if group == "method":
            compose(lines)  # some bring members of other groups along, and refuse toys there
        else:
            toys.compose(*lines)


def test_names_of_sections_are_the_members(toys: Any) -> None:
    for group in ("dataset", "backbone", "generator", "method", "logger"):
        for member in group_members(group):
            assert OmegaConf.load(conf_dir() / group / f"{member}.yaml").name == member


def test_composes_anywhere_and_leaves_no_trace(toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = toys.compose()
    monkeypatch.chdir(tmp_path)
    assert toys.compose() == here
    assert not GlobalHydra.instance().is_initialized()
    assert not list(tmp_path.iterdir())


def test_composes_inside_another_hydra_program(toys: Any, tmp_path: Path) -> None:
    (tmp_path / "outer.yaml").write_text("colour: blue\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.2"):
        toys.compose()
        assert not hydra.version.base_at_least("1.3")
        with pytest.raises(ConfigError):
            toys.compose("seed=-1")
        assert hydra.compose("outer").colour == "blue"


def test_a_folder_of_ones_own_adds_members(toys: Any, tmp_path: Path) -> None:
    assert "toy" in group_members("backbone", toys.folder)
    assert "toy" not in group_members("backbone")
    with pytest.raises(UserError, match="no such folder"):
        compose([], tmp_path / "nowhere")


def test_a_copied_file_is_called_as_the_copy(toys: Any, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_bytes((conf_dir() / "dataset" / "fuseg.yaml").read_bytes())
    assert compose(["dataset=mine"], tmp_path).dataset.name == "mine"
    assert compose(["dataset=mine", "dataset.name=x"], tmp_path).dataset.name == "x"
    assert load_dataset_config("mine", config_dir=tmp_path).name == "mine"


def test_a_folder_with_quotes_and_spaces_in_its_name(toys: Any, tmp_path: Path) -> None:
    folder = tmp_path / "it's my, own"
    folder.mkdir()
    folder.joinpath("dataset").mkdir()
    folder.joinpath("dataset", "mine.yaml").write_text("defaults: [folder]\nname: mine\n")
    assert load_dataset_config("mine", config_dir=folder).name == "mine"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            ["labels={a: 0, b: 1}", "classes=[a, b]"],
            "classes=[a, b]: stands beside dataset.labels; expected one of them",
        ),
        (["classes=[a, b]", "threshold=127"], "threshold=127: stands beside dataset.classes; expected one of them"),
        (["threshold=65535"], "threshold=65535: expected an integer from 0 to 65534 or null"),
        (["threshold=3", "foreground=[a]"], "foreground=[a]: there are no labels to choose from"),
        (["group='(a)'", "group_starts=[1]"], "drop the other with dataset.group=null"),
        (["group='(a'"], "unterminated subpattern"),
        (["stem=abc"], "whose first parenthesis is {stem} of the masks in an image's stem; it holds no parenthesis"),
        (["stem='(.+)_x'", "masks=['{dir}/m.png']"], "no pattern of dataset.masks holds {stem}"),
        (["masks=['{group}.png']"], "{group} needs dataset.group"),
        (["group_starts=[1, 5, 5]"], "group_starts=[1, 5, 5]: expected the first number of each sequence, in rising"),
        (["group_starts=[]"], "group_starts=[]: expected the first number of each sequence"),
        (["group_starts=[-1]"], "group_starts=[-1]: expected [an integer at least 0, …] or null"),
        (["ignore=Thumbs.png"], "ignore=Thumbs.png: expected [text, …]"),
        (["scaled_masks=yes"], "scaled_masks=yes: expected true or false"),
        (["split={test: [a], file: b}"], "split.test has no place beside it; write dataset.split={file: b}"),
        (["split={file: b}", "folds=all", "fold=0"], "folds=all: dataset.split.file says what is tested on"),
        (["folds=3", "fold=3"], "fold=3: expected an integer from 0 to 2, as dataset.folds=3"),
        (["folds=some", "fold=0"], "folds=some: expected an integer at least 2, all or null"),
        (["group_start=[1]"], "group_start=[1]: no such key; did you mean dataset.group_starts"),
    ],
)
def test_keys_of_a_dataset_that_do_not_fit(keys: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset_config("folder", overrides=keys)
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]


def test_keys_of_a_dataset_that_fit() -> None:
    keys = ["labels={a: [0, 0, 0], b: [255, 0, 9]}", "foreground=[b]", "split={file: my.json}", "image_size=null"]
    config = load_dataset_config("folder", overrides=[*keys, "group_starts=[1, 26]", "ignore=['**/Thumbs.png']"])
    assert config.labels == {"a": [0, 0, 0], "b": [255, 0, 9]}
    assert config.split == {"test": None, "test_groups": None, "optional": False, "published": False, "file": "my.json"}
    assert (config.image_size, config.group_starts, config.ignore) == (None, [1, 26], ["**/Thumbs.png"])
    keys = ["folds=all", "fold=11", "classes=[a, b, c]", "stem='(.+)_x'", "masks=['{group}/{stem}.png']", "group='(.)'"]
    config = load_dataset_config("folder", overrides=keys)
    assert (config.folds, config.fold, config.classes) == ("all", 11, ["a", "b", "c"])


def test_image_size_may_be_left_to_the_data(toys: Any) -> None:
    config = toys.compose("dataset=folder", "dataset.image_size=null")
    assert (config.image_size, config.dataset.image_size) == (None, None)


def test_a_yaml_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("name: [unclosed\n")
    with pytest.raises(ConfigError, match="cannot be composed"):
        load_dataset_config("mine", config_dir=tmp_path)


def test_dataset_config_alone() -> None:
    assert load_dataset_config("nlm_mc").root is None
    assert load_dataset_config("nlm_mc", root=Path("/data/mc")).root == "/data/mc"
    own = load_dataset_config("nlm_mc", overrides=["root=/x", "dataset.n_test=5", "+metric=jaccard"])
    assert (own.root, own.n_test, own.metric) == ("/x", 5, "jaccard")


def test_faults_of_a_dataset_config_alone() -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset_config("nlm_mc", overrides=["rot=/x", "n_test=-1"])
    assert len(caught.value.problems) == 2
    assert "dataset.rot=/x: no such key; did you mean dataset.root" in str(caught.value)
    with pytest.raises(ConfigError, match="no such dataset; did you mean nlm_mc"):
        load_dataset_config("nlm_mcc")


def test_every_dataset_config_loads() -> None:
    for name in dataset_names():
        assert load_dataset_config(name).name == name


@pytest.mark.parametrize("found", [None, "0.1.1"])
def test_betty_missing_or_old(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    def version(name: str) -> str:
        if found is None:
            raise config_module.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(config_module, "version", version)
    with pytest.raises(UserError, match=r"pip install --no-deps --ignore-requires-python betty-ml==0\.2\.1"):
        require_betty()


def test_betty_as_it_is_installed() -> None:
    require_betty()
