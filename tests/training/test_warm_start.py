"""A Run that begins from another's warm-up equals one that made it itself; what does not fit is refused, and named."""

import copy
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

import genseg_betty as gs
from genseg_betty.build import build_named
from genseg_betty.config import compose
from genseg_betty.config.keys import find_role
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.errors import UserError
from genseg_betty.methods import level_method
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.run import Run
from genseg_betty.run.checksums import SUMS
from genseg_betty.training import sample_images as pictures
from genseg_betty.training.loop_checkpoints import LoopCheckpoints
from genseg_betty.training.warm_start import begin_warm, require_beginning, save_warm_up
from methods.tiny import TINY, built
from states import different

WARMUP, ITERATIONS = 6, 5
OVERRIDES = [
    *TINY, "dataset.n_test=1", "ood=[]", f"trainer.warmup_iterations={WARMUP}", f"trainer.iterations={ITERATIONS}",
    "trainer.finetune_iterations=1", "trainer.checkpoint_every=4", "trainer.validate_every=2", "arch_every=2",
    "trainer.sample_every=1000", "trainer.scheduler=plateau",
]  # fmt: skip
VARYING = {"seconds", "seconds_per_iteration", "peak_memory_bytes", "finished", "name", "warm_start"}


@pytest.fixture(autouse=True, scope="module")
def _in_short() -> Iterator[None]:
    """On one thread, without pictures, and the sizes of the networks are not found out."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "save_samples", lambda path, columns: None)
        patch.setattr(level_method, "report_networks", lambda engine, data, batch_size: None)
        yield
    torch.set_num_threads(usual)


class Stop(Exception):
    """Ends a training where a test has seen enough, or as a kill would."""


@pytest.fixture(scope="module")
def donor(tmp_path_factory) -> Run:
    """The warm-up alone."""
    path = tmp_path_factory.mktemp("donor") / "run"
    return gs.train([*OVERRIDES, "trainer.iterations=0", "trainer.finetune_iterations=0", f"run_dir={path}"])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Run:
    """A Run that warms up itself."""
    return gs.train([*OVERRIDES, f"run_dir={tmp_path_factory.mktemp('unbroken') / 'run'}"])


def assert_same_end(found: Run, expected: Run, steps: int = WARMUP) -> None:
    for name in ("last", "best", "predictor", "generator", "generator_strongest"):
        places = different(found.load_checkpoint(name), expected.load_checkpoint(name))
        assert {*places} <= {"/seconds"}, f"{name}: {places}"
    rows, wanted = (
        [row for row in run.metrics() if row["phase"] != "system" and row["step"] > steps] for run in (found, expected)
    )
    assert rows
    assert rows == wanted
    left, right = (run.read_json("results.json") for run in (found, expected))
    assert left.keys() == right.keys()
    assert {key for key in left if left[key] != right[key]} <= VARYING
    for file in expected.path.glob("test-*.csv"):
        assert (found.path / file.name).read_bytes() == file.read_bytes()


# -- what comes out ----------------------------------------------------------------------------------------------


def test_the_bytes_are_those_of_a_run_that_warmed_up_itself(donor, unbroken, tmp_path, capsys):
    run = gs.train([*OVERRIDES, f"trainer.warm_start={donor.path}", f"run_dir={tmp_path / 'run'}"])
    assert f"{donor.path} warmed up: its {WARMUP} steps are not made again" in capsys.readouterr().err
    assert_same_end(run, unbroken)
    assert min(row["step"] for row in run.metrics()) > WARMUP
    results = run.read_json("results.json")
    assert results["seconds_per_iteration"] == pytest.approx(results["seconds"] / ITERATIONS)
    assert results["warm_start"]["run"] == str(donor.path)
    assert len(results["warm_start"]["sha256"]) == 64
    assert unbroken.read_json("results.json")["warm_start"] is None
    assert not (run.path / "checkpoints" / "warmup.pt").exists()


def test_separate_begins_from_a_warm_up_as_long_as_its_own(donor, tmp_path):
    separate = [*OVERRIDES, "method=separate", f"trainer.warmup_iterations={WARMUP - 2}", "trainer.iterations=2"]
    expected = gs.train([*separate, f"run_dir={tmp_path / 'expected'}"])
    found = gs.train([*separate, f"trainer.warm_start={donor.path}", f"run_dir={tmp_path / 'found'}"])
    assert_same_end(found, expected)


def test_with_another_seed_joint_steps_begin_at_the_donors_generator(donor, tmp_path, monkeypatch):
    found = []

    def first_step(engine):
        found.append((engine.phase().name, engine.state_dict()))
        raise Stop

    monkeypatch.setattr(PhasedEngine, "advance", first_step)
    others = ["seed=1", "backbone.base_channels=8", f"dataset.split={{file: {donor.path / 'splits.json'}}}"]
    with pytest.raises(Stop):
        gs.train([*OVERRIDES, *others, f"trainer.warm_start={donor.path}", f"run_dir={tmp_path / 'run'}"])
    ((phase, state),) = found
    ended = donor.load_checkpoint("last")["engine"]
    assert phase == "joint"
    assert state["global_step"] == ended["global_step"] == WARMUP
    for level in ("generator", "discriminator"):
        assert not different(state["levels"][level], ended["levels"][level])
    assert state["levels"]["segmenter"]["count"] == 0


def test_a_resume_needs_the_donor_no_more(donor, unbroken, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    shutil.copytree(donor.path, gone)
    command = [*OVERRIDES, f"trainer.warm_start={gone}", f"run_dir={tmp_path / 'run'}"]
    advance = PhasedEngine.advance

    def killed(engine):
        if engine.global_step == 10:  # two steps behind its checkpoint
            raise Stop
        return advance(engine)

    with monkeypatch.context() as patch:
        patch.setattr(PhasedEngine, "advance", killed)
        with pytest.raises(Stop):
            gs.train(command)
    shutil.rmtree(gone)
    assert Run.open(tmp_path / "run").load_checkpoint("last")["engine"]["global_step"] == 8
    with pytest.raises(UserError, match=r"trainer\.warm_start: .*gone in the Run, None now"):
        gs.train([*OVERRIDES, f"run_dir={tmp_path / 'run'}"])
    assert_same_end(gs.train(command), unbroken)


def test_a_warm_up_alone_is_not_tested_and_may_go_on(donor, unbroken, tmp_path):
    results = donor.read_json("results.json")
    assert (results["iterations"], results["test"], results["validation"]["best"]) == (0, {}, None)
    shutil.copytree(donor.path, tmp_path / "run")
    prolonged = gs.train([*OVERRIDES, "trainer.finetune_iterations=0", f"run_dir={tmp_path / 'run'}"])
    assert not different(prolonged.load_checkpoint("predictor"), unbroken.load_checkpoint("predictor"))


def test_the_warm_up_is_kept_before_the_checkpoint_of_its_last_step(tmp_path, monkeypatch):
    """Or a kill between them would lose it for good."""

    def killed(checkpoints, seconds):
        raise Stop

    monkeypatch.setattr(LoopCheckpoints, "save_last", killed)
    with pytest.raises(Stop):
        gs.train([*OVERRIDES, f"trainer.checkpoint_every={WARMUP}", f"run_dir={tmp_path / 'run'}"])
    assert Run.open(tmp_path / "run").load_checkpoint("warmup")


def test_the_warm_up_need_not_be_kept(donor, tmp_path):
    run = gs.train(
        [*OVERRIDES, "trainer.iterations=0", "trainer.finetune_iterations=0", "trainer.keep_warmup=false",
         f"run_dir={tmp_path / 'run'}"]
    )  # fmt: skip
    names = {path.name for path in (donor.path / "checkpoints").iterdir()}
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == names - {"warmup.pt"}


def test_a_method_without_a_generator_trains_without_it(tmp_path, capsys):
    run = gs.train([*OVERRIDES, "method=combine", "trainer.warm_start=nowhere", f"run_dir={tmp_path / 'run'}"])
    assert "trainer.warm_start=nowhere is not used: combine has no generator" in capsys.readouterr().err
    assert run.read_json("results.json")["warm_start"] is None


def test_reports_take_runs_of_several_donors_for_one_method():
    assert not find_role("trainer.warm_start").separates_methods


# -- what the warm-up depends on -------------------------------------------------------------------------------


@cache
def base() -> DictConfig:
    return compose(OVERRIDES)


@cache
def data_of(*changes: str) -> DataBundle:
    return load_data(configured(*changes))


def configured(*changes: str) -> DictConfig:
    """`base`, changed key by key: composing takes longer than all that is tried here."""
    config = copy.deepcopy(base())
    for change in changes:
        key, _, value = change.partition("=")
        OmegaConf.update(config, key, OmegaConf.create(f"value: {value}").value, merge=False)
    return config


def described(*changes: str) -> tuple[DictConfig, dict]:
    config = configured(*changes)
    data = data_of(
        *(change for change in changes if change.startswith(("seed", "dataset.", "image_size", "trainer.batch_size")))
    )
    return config, build_named(config.method).describe_warm_up(config, data)


def require(source: Path, *changes: str) -> None:
    require_beginning(*described(f"trainer.warm_start={source}", "run_dir=nowhere", *changes))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["seed=1"], "training images: 7 there alone (lung_source_0009, "),
        (["dataset.seed=1"], "training images: 7 of other content ("),
        (["dataset.n_labelled=8"], "training images: 1 there alone ("),
        (["image_size=64"], "image_size: [32, 32] there, [64, 64] here"),
        (["dataset.channels=3"], "dataset.channels: 1 there, 3 here"),
        (["dataset.intensity=percentiles"], "dataset.intensity: [0.0, 255.0] there, "),
        (["trainer.batch_size=3"], "trainer.batch_size: 2 there, 3 here"),
        (["trainer.warmup_iterations=5"], "separate trainer.iterations as well): 6 there, 5 here"),
        (
            ["method._target_=genseg_betty.methods.genseg.Separate"],
            f"separate trainer.iterations as well): 6 there, {WARMUP + ITERATIONS} here",
        ),
        (["method.augment_pairs=both"], "augment (of stage I, by method.augment_pairs=both): null there, {"),
        (["precision=bf16"], 'precision: "fp32" there, "bf16" here'),
        (["generator.base_channels=8"], "generator.base_channels: 4 there, 8 here"),
        (["generator.alpha=sigmoid"], 'generator.alpha: "softmax" there, "sigmoid" here'),
        (["generator.objective.l1_weight=1.5"], "generator.objective.l1_weight: 100.0 there, 1.5 here"),
        (["generator.discriminator.layers=2"], "generator.discriminator.layers: "),
        (["generator.discriminator=null"], ", null here\n  trainer.optimizers.discriminator: {"),
        (["trainer.optimizers.generator.lr=0.1"], "trainer.optimizers.generator.lr: 0.0002 there, 0.1 here"),
        (["trainer.optimizers.discriminator.lr=0.1"], "trainer.optimizers.discriminator.lr: 0.0002 there, "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_makes_another_generator_is_refused_by_name(overrides, told, donor):
    with pytest.raises(UserError) as refused:
        require(donor.path, *overrides)
    assert told in str(refused.value)
    mended = f"dataset.split='{{file: {donor.path / 'splits.json'}}}'" in str(refused.value)
    assert mended == ("training images" in told)


@pytest.mark.parametrize(
    "overrides",
    [
        ["backbone.base_channels=8", "trainer.optimizers.segmenter.lr=0.5", "trainer.loss=bce"],
        ["hypergradient=none", "arch_every=3", "precondition=identity", "trainer.optimizers.architecture.lr=0.5"],
        ["trainer.iterations=50", "trainer.ema_decay=0", "trainer.select=best", "trainer.finetune_iterations=9"],
        ["augment.rotate=3", "method.augment_pairs=none", "method.real_weight=3", "dataset.n_test=3"],
    ],
)
def test_what_the_warm_up_knows_nothing_of_is_let_through(overrides, donor):
    require(donor.path, *overrides)


def test_all_differences_are_told_at_once_and_nothing_is_touched(donor, tmp_path):
    path = tmp_path / "run"
    others = ["seed=1", "trainer.batch_size=3", "generator.base_channels=8"]
    with pytest.raises(UserError) as refused:
        gs.train([*OVERRIDES, *others, f"trainer.warm_start={donor.path}", f"run_dir={path}"])
    for told in ("training images", "trainer.batch_size", "generator.base_channels"):
        assert told in str(refused.value)
    assert not path.exists()


def write_folder(root: Path) -> None:
    """Random images of 36 px with a disc each; masks of 0 and 1."""
    rows, columns = np.indices((36, 36))
    for index in range(14):
        random = np.random.default_rng(index)
        row, column = random.integers(12, 24, 2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < 50
        image = random.integers(0, 255, (36, 36)).astype(np.uint8)
        for folder, array in (("images", image), ("masks", disc.astype(np.uint8))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f"case{index:02d}.png")


def test_masks_count_and_validation_does_not(tmp_path):
    write_folder(tmp_path)
    folder = ["dataset=folder", f"dataset.root={tmp_path}", "dataset.n_labelled=9", "dataset.labels={a: 0, b: 1}"]

    def found(*overrides: str):
        config = compose([*OVERRIDES, *folder, *overrides])
        data = load_data(config)
        return build_named(config.method).describe_warm_up(config, data), data.splits

    before, splits = found()
    for part in ("images", "masks"):
        file = tmp_path / part / f"{splits.validation[0]}.png"
        Image.fromarray(np.asarray(Image.open(file)).T.copy()).save(file)
    assert found()[0] == before
    assert found("dataset.labels={c: 0, d: 1}")[0] == before  # names
    assert found("dataset.labels={background: 1, b: 0}")[0] != before  # what is what
    file = tmp_path / "masks" / f"{splits.train[0]}.png"
    Image.fromarray(np.asarray(Image.open(file)).T.copy()).save(file)
    after, _ = found()
    assert {id for id in splits.train if after["images"][id] != before["images"][id]} == {splits.train[0]}


# -- what is no donor --------------------------------------------------------------------------------------------


def refused(source: object, path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as error:
        gs.train([*OVERRIDES, f"trainer.warm_start={source}", f"run_dir={path}", *overrides])
    return str(error.value)


def test_no_run_and_a_run_without_a_warm_up(donor, tmp_path):
    path = tmp_path / "run"
    assert "there is no Run in" in refused(tmp_path / "nowhere", path)
    assert "there is no Run in" in refused(donor.path / "checkpoints", path)
    with Run.start(tmp_path / "young", donor.config) as young:
        pass
    told = refused(young.path, path)
    assert "it has no checkpoints/warmup.pt" in told
    assert "with trainer.warmup_iterations of 1 or more" in told
    begun = compose([*OVERRIDES, "trainer.warm_start=outputs/first"])
    with Run.start(tmp_path / "second", begun) as second:
        pass
    assert "name that one (outputs/first)" in refused(second.path, path)
    assert not path.exists()


def test_the_run_itself(donor, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(donor.path, path)
    before = {file: file.read_bytes() for file in path.rglob("*.*") if file.is_file()}
    assert "is this Run itself" in refused(path, path, "resume=restart")
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize(
    "overrides",
    [["method=vanilla"], ["trainer.warmup_iterations=0"], ["trainer.warm_start=DONOR"]],
)
def test_no_steps_at_all(overrides, donor, tmp_path):
    overrides = [override.replace("DONOR", str(donor.path)) for override in overrides]
    with pytest.raises(UserError, match=r"trainer\.iterations=0 leaves .* expected 1 or more"):
        gs.train([*OVERRIDES, *overrides, "trainer.iterations=0", f"run_dir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


class Told:
    """What a file that is loaded without care would do."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def edited(edit: Callable) -> Callable:
    def write(path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        edit(saved)
        torch.save(saved, path)
        (path.parents[1] / SUMS).unlink(missing_ok=True)  # as of a Run that was put together by hand

    return write


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "cannot be read"),
        (lambda path: path.write_bytes(bytes(range(256)) * 8), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(pickle.dumps(Told(path.with_name("mark")))), "cannot be read"),
        (lambda path: torch.save(Told(path.with_name("mark")), path), "cannot be read"),
        (lambda path: torch.save([1, 2], path), "it holds a list, expected a mapping"),
        (edited(lambda saved: saved.update(form=torch.eye(2).to_sparse())), "it asks for torch._utils._rebuild_sparse"),
        (edited(lambda saved: saved.update(form=2)), "expected form 1"),
        (edited(lambda saved: saved.update(description=torch.zeros(2))), "is no warm-up"),
        (edited(lambda saved: saved["description"].update(steps=torch.zeros(2))), "is no warm-up"),
        (edited(lambda saved: saved["description"].update(images=3)), "training images: 7 here alone"),
        (edited(lambda saved: saved.update(description={})), "precision: \"absent\" there"),
    ],
)  # fmt: skip
def test_files_that_are_no_warm_up(spoil, told, donor, tmp_path):
    shutil.copytree(donor.path, tmp_path / "ill")
    spoil(tmp_path / "ill" / "checkpoints" / "warmup.pt")
    with pytest.raises(UserError, match=re.escape(told)):
        require(tmp_path / "ill")
    assert not (tmp_path / "ill" / "checkpoints" / "mark").exists()


@pytest.fixture(scope="module")
def engine() -> PhasedEngine:
    """Before its first step."""
    return built(base(), data_of())[1]


def begin_from(source: Path, engine: PhasedEngine) -> None:
    config, description = described(f"trainer.warm_start={source}")
    begin_warm(Run(source, config), engine, description)


def generation(edit: Callable) -> Callable:
    return lambda levels: edit(levels["generator"])


def weights(edit: Callable) -> Callable:
    return generation(lambda state: state["module"].update({key: edit(v) for key, v in state["module"].items()}))


def first(moments: dict) -> dict:
    return moments[min(moments)]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda levels: levels.pop("discriminator"), "levels.discriminator is missing"),
        (lambda levels: levels.update(segmenter={}), "levels.segmenter is not expected"),
        (generation(lambda state: state.pop("skipped")), "levels.generator.skipped is missing"),
        (generation(lambda state: state.update(count="6")), "count is of type str, expected of type int"),
        (generation(lambda state: state.update(count=5)), "generator has made 5 steps, expected 6"),
        (generation(lambda state: state.update(loss="low")), "loss is of type str, expected one number"),
        (generation(lambda state: state.update(module=3)), "module is of type int, expected of type dict"),
        (generation(lambda state: state["module"].popitem()), " is missing"),
        (generation(lambda state: state["module"].update(more=torch.zeros(1))), "module.more is not expected"),
        (weights(lambda weight: weight[:1]), ", expected a tensor of float32 ["),
        (weights(Tensor.half), "is a tensor of float16 ["),
        (generation(lambda state: state["optimizer"].pop("state")), "optimizer.state is missing"),
        (generation(lambda state: state["optimizer"]["state"].popitem()), "is missing"),
        (generation(lambda state: first(state["optimizer"]["state"]).pop("exp_avg")), "state.0.exp_avg is missing"),
        (
            generation(lambda state: first(state["optimizer"]["state"]).update(exp_avg=torch.zeros(3))),
            "exp_avg is a tensor of float32 [3], expected",
        ),
    ],
)  # fmt: skip
def test_states_that_do_not_fit_leave_the_networks_as_they_were(spoil, told, donor, engine, tmp_path):
    shutil.copytree(donor.path, tmp_path / "donor")
    edited(lambda saved: spoil(saved["levels"]))(tmp_path / "donor" / "checkpoints" / "warmup.pt")
    before = pickle.dumps(engine.state_dict())
    with pytest.raises(UserError, match="do not fit the networks of this Run") as error:
        begin_from(tmp_path / "donor", engine)
    assert told in str(error.value)
    assert not different(engine.state_dict(), pickle.loads(before))


def test_an_optimizers_options_are_the_configs(donor, tmp_path):
    shutil.copytree(donor.path, tmp_path / "donor")
    file = tmp_path / "donor" / "checkpoints" / "warmup.pt"
    edited(lambda saved: saved["levels"]["generator"]["optimizer"]["param_groups"][0].update(lr=9.0))(file)
    engine = built(base(), data_of())[1]
    begin_from(tmp_path / "donor", engine)
    assert engine.generator.optimizer.param_groups[0]["lr"] == 2e-4
    assert engine.done == {"warmup": WARMUP, "joint": 0}


@pytest.mark.parametrize(
    "changes",
    [
        ["trainer.optimizers.generator={name: sgd, lr: 0.1}"],
        ["trainer.optimizers.generator={name: sgd, lr: 0.1, momentum: 0.9}"],
        ["trainer.optimizers.generator={name: rmsprop, lr: 0.1, momentum: 0.9}"],
        ["trainer.optimizers.generator={name: adamw, lr: 0.1}"],
        ["generator.objective.l1_weight=1e39"],  # no step is sound
    ],
    ids=str,
)
def test_every_optimizer_comes_back_whole(changes, tmp_path):
    comes_back_whole(*described("trainer.warmup_iterations=2", *changes), tmp_path)


@pytest.mark.parametrize("generator", ["bbdm", "soft_intro_vae"])
def test_other_families_come_back_whole(generator, tmp_path):
    """The first has no discriminator."""
    small = "trainer.small={base_channels: 4, max_channels: 8}"
    others = [one for one in OVERRIDES if not one.startswith("generator.")]
    config = compose([*others, f"generator={generator}", "trainer.warmup_iterations=2", small])
    comes_back_whole(config, build_named(config.method).describe_warm_up(config, data_of()), tmp_path)


def comes_back_whole(config: DictConfig, description: dict, path: Path) -> None:
    warm, cold = (built(config, data_of())[1] for _ in range(2))
    while warm.phase().name == "warmup":
        warm.advance()
    config.trainer.warm_start = str(path)
    with Run.start(path, config) as run:
        save_warm_up(run, warm, description)
        begin_warm(run, cold, description)
    unsound = {"/levels/generator/gradient_norm"} if warm.generator.guard.skipped else set()  # nan ≠ nan
    assert {*different(cold.state_dict(), warm.state_dict())} <= unsound
