"""The command line: words in; calls, output and exit status out."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from genseg_betty.cli import main
from genseg_betty.config import dataset_names, group_members, group_names
from genseg_betty.errors import Interrupted, UserError


class Calls(SimpleNamespace):
    """Stands in for a module: every function of it notes its arguments and gives back `answer`."""

    def __init__(self, *names: str, answer: Any = None) -> None:
        super().__init__(calls=[], answer=answer, error=None)
        for name in names:
            setattr(self, name, self._function(name))

    def _function(self, name: str) -> Any:
        def function(*arguments: Any, **keywords: Any) -> Any:
            self.calls.append((name, arguments, keywords))
            if self.error is not None:
                raise self.error
            return self.answer

        return function


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, *names: str, answer: Any = None) -> Calls:
    calls = Calls(*names, answer=answer)
    monkeypatch.setitem(sys.modules, module, calls)  # type: ignore[arg-type]
    return calls


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    trained = SimpleNamespace(path=Path("run"), config={}, resuming=False)
    return stand_in(monkeypatch, "genseg_betty.methods", "train", answer=trained)


def status_of(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("verb", [[], ["train"]])
def test_training_is_the_default(toys: Any, methods: Calls, verb: list[str]) -> None:
    words = ("+dataset=folder", f"dataset.root={toys.folder}", "seed=3")
    assert status_of(*verb, *toys.words(*words)) == 0
    [(_, (config,), _)] = methods.calls
    assert config == toys.compose(*words)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("there is no image"), 1, "genseg: there is no image\n"),
        (ZeroDivisionError("oh"), 1, "genseg: ZeroDivisionError: oh\nHYDRA_FULL_ERROR=1 shows where"),
        (Interrupted(2), 130, "the same command goes on"),
        (Interrupted(15), 143, "the same command goes on"),
        (KeyboardInterrupt(), 130, "genseg: interrupted\n"),
    ],
)
def test_how_a_training_ends(
    toys: Any,
    methods: Calls,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    message: str,
) -> None:
    methods.error = error
    assert status_of(*toys.words()) == status
    found = capsys.readouterr().err
    assert message in found
    assert "Traceback" not in found


def test_full_errors_on_request(toys: Any, methods: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    methods.error = UserError("there is no image")
    with pytest.raises(UserError):
        main(toys.words())


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["trian"], 1, "'trian' is neither a command nor key=value; did you mean train?"),
        (["seed=1", "predict"], 1, "did you mean predict?"),
        (["check", "folder"], 1, "'check' is neither a command nor key=value; did you mean data check?"),
        (["status", "outputs"], 1, "did you mean sweep status?"),
        (["--mutlirun"], 2, "unrecognized arguments: --mutlirun; did you mean --multirun?"),
        (["--info"], 2, "unrecognized arguments: --info (genseg --help)"),
        (["seed", "=", "3"], 1, "'seed' is neither a command nor key=value; write key=value without spaces"),
        (["-m", "--cfg", "seed=0,1"], 1, "--cfg prints the configuration of one training: leave out -m"),
        (["--cfg", "hydra"], 1, "'hydra' is neither a command nor key=value"),
        (["-m", "method=glob(x*)"], 1, "no cells: a pattern such as glob(*) finds no member of its group"),
        (["-m", "seed=0,0"], 1, "2 cells would share it; give each value once"),
        (["-m", "seed=0,1", "run_dir=x"], 1, "run_dir=x: 2 cells would share it; leave run_dir out"),
        (["--config-dir", "/nowhere"], 1, "no such folder"),
        (["predict", "--out", "x"], 2, "required: RUN, PATH"),
        (["predict", "run", "a.png"], 2, "required: --out"),
        (["generate", "run", "--count", "0", "--out", "x"], 2, "expected 1 or more, found 0"),
        (["generate", "run", "--count", "x", "--out", "x"], 2, "expected 1 or more, found x"),
        (["evaluate", "run"], 1, "give either --dataset NAME, or --images DIR and --masks DIR"),
        (["evaluate", "--dataset", "isic"], 1, "give a RUN; --predictions DIR scores masks that were made elsewhere"),
        (["evaluate", "run", "--predictions", "x", "--masks", "y"], 1, "leave out run, or --predictions"),
        (["evaluate", "--predictions", "x", "--images", "y"], 1, "give either --dataset NAME, or --masks DIR"),
        (["evaluate", "run", "--dataset", "isic", "--images", "x"], 1, "give either --dataset NAME"),
        (["evaluate", "run", "--images", "x", "--masks", "y"], 1, "No such folder: "),
        (["predict", "nowhere", "b.png", "c.png", "--out", "m"], 1, "b.png and c.png: no such file or folder"),
        (["generate", "nowhere", "--count", "1", "--out", "m"], 1, "there is no Run in "),
        (["completion", "csh"], 2, "invalid choice: 'csh'"),
        (
            ["evaluate", "run", "n_test=3", "--images", "x", "--masks", "y"],
            1,
            "n_test=3 belongs to --dataset",
        ),
        (["data"], 2, "an action is required"),
        (["data", "check"], 2, "required: DATASET (genseg data check --help)"),
        (["data", "chck"], 2, "'chck' is none of the actions; did you mean check?"),
        (["help", "predct"], 1, "did you mean predict?"),
        (["data", "check", "nlm_mcc"], 1, "did you mean nlm_mc?"),
        (["data", "check", "nlm_mc", "rot=x"], 1, "did you mean dataset.root"),
        (["data", "check", "folder", f"root={__file__}"], 1, f"no folder at {__file__} (a file)"),
        (["data", "show", "nlm_mc"], 2, "required: --out"),
        (["data", "show", "nlm_mc", "--out", "x", "--count", "0"], 2, "expected 1 or more"),
        (["data", "fetch", "phantom"], 1, "drawn by the program"),
        (["data", "fetch", "fetreg", "root=/x"], 1, "1. Log in at https://www.synapse.org"),
        (["report", "--out", "x"], 2, "required: RUN"),
    ],
)
def test_misuse_is_told(
    methods: Calls, capsys: pytest.CaptureFixture[str], words: list[str], status: int, message: str
) -> None:
    assert status_of(*words) == status
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""
    assert not methods.calls


def test_a_faulty_config_is_told(toys: Any, methods: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*toys.words("trainer.itertions=5", "seed=x")) == 1
    assert "genseg: 2 problems in the configuration:\n  - seed=x: expected" in capsys.readouterr().err
    assert not methods.calls


def test_help_names_every_group_and_member(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--help") == 0
    page = capsys.readouterr().out
    for group in group_names():
        [line] = [line for line in page.splitlines() if line.strip().startswith(f"{group}=")]
        assert [word.strip() for word in line.partition("=")[2].split(",")] == group_members(group)
    for verb in ("train", "predict", "generate", "evaluate", "export", "report", "data"):
        assert f"\n  {verb} " in page


@pytest.mark.parametrize(
    "verb",
    [
        *["predict", "generate", "evaluate", "export", "report"],
        *["data", "data list", "data check", "data show", "data fetch"],
    ],
)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert status_of(*verb.split(), "--help") == 0
    page = capsys.readouterr().out
    assert f"usage: genseg {verb}" in page
    assert status_of("help", *verb.split()) == 0
    assert capsys.readouterr().out == page


def test_data_has_a_line_for_each_action(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("data", "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == ["list", "check", "show", "fetch"]


def test_the_run_that_was_meant(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "outputs" / "phantom-unet-n9-s0").mkdir(parents=True)
    (places / "outputs" / "phantom-unet-n9-s0" / "config.yaml").touch()
    assert status_of("report", "outputs/phantom-unet-n9-s1", "--out", "x.html") == 1
    assert "Did you mean outputs/phantom-unet-n9-s0?" in capsys.readouterr().err
    assert status_of("report", "outputs", "--out", "x.html") == 1
    assert "Below it lie phantom-unet-n9-s0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "predct x", "backbone=unett", "trainer.iteration=5", "generator.base_chanels=4", "seed=-1", "predict --out",
        "evaluate RUN --dataset typo", "predict nosuchdir x --out y", "generate nosuchdir --count 1 --out y",
        "report nosuch --out x.html", "-m seed=0,1 backbone=unett", "dataset=folder dataset.root=/nowhere",
        "-m seed=0,1 dataset=folder dataset.root=/nowhere", "data check typo", "data check folder root=/nowhere",
        "data show folder root=/nowhere --out x.png",
        "evaluate RUN --dataset folder root=/nowhere", "data chck", "device=cuda",
        "predict run a.png --out x --device cuda", "backbone._target_=torch.nn.modules.linear.Linear seed=-1",
    ],
)  # fmt: skip
def test_a_typo_is_told_before_anything_large_is_imported(places: Path, line: str) -> None:
    code = (
        "import sys\nfrom genseg_betty.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n"
        "    large = {'torch', 'monai', 'segmentation_models_pytorch', 'scipy', 'matplotlib'} & sys.modules.keys()\n"
        "    print('imported', large or 'nothing', 'status', end.code)"
    )
    words = [sys.executable, "-c", code, *line.split()]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, cwd=places, env=hidden, capture_output=True, text=True, check=False)
    assert done.stdout in ("imported nothing status 1\n", "imported nothing status 2\n"), done.stderr
    assert done.stderr


def test_cfg_prints_the_config_and_trains_nothing(
    toys: Any, methods: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (["seed=4", "--cfg", "job"], ["--cfg", "seed=4"], ["--cfg=job", "seed=4"]):
        assert status_of(*toys.words(), *flags) == 0
        assert yaml.safe_load(capsys.readouterr().out)["seed"] == 4
    assert not methods.calls


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with what a command may be given: Runs, an image, folders."""
    monkeypatch.chdir(tmp_path)
    for folder in ("run", "a", "b", "i", "m", "mc", "scans"):
        (tmp_path / folder).mkdir()
    for run in ("run", "a", "b"):
        (tmp_path / run / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "a.png").touch()
    return tmp_path


@pytest.mark.usefixtures("places")
def test_predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    inference = stand_in(monkeypatch, "genseg_betty.inference", "predict_paths", answer=[Path("m/a.png")])
    assert status_of("predict", "run", "a.png", "--out", "m", "scans", "--device", "cpu") == 0
    arguments = (Path("run"), [Path("a.png"), Path("scans")], Path("m"), "cpu")
    assert inference.calls == [("predict_paths", arguments, {"trust": False})]
    assert capsys.readouterr().out == "1 mask in m\n"


@pytest.mark.usefixtures("places")
def test_predict_with_several_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    inference = stand_in(monkeypatch, "genseg_betty.inference", "predict_paths", answer=[])
    words = ["--run", "a", "--run", "b", "--tta", "--overlay", "--probabilities", "--uncertainty"]
    assert status_of("predict", "run", "a.png", "--out", "m", *words) == 0
    arguments = ([Path("run"), Path("a"), Path("b")], [Path("a.png")], Path("m"), "auto")
    chosen = dict.fromkeys(["tta", "overlay", "probabilities", "uncertainty"], True)
    assert inference.calls == [("predict_paths", arguments, {"trust": False, **chosen})]
    assert capsys.readouterr().out == "0 masks in m\n"
    assert status_of("predict", "run", "a.png", "--out", "m", "--run", "i", "--run", "nowhere") == 1
    assert "there is no Run in" in capsys.readouterr().err


@pytest.mark.usefixtures("places")
def test_generate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = SimpleNamespace(
        kept=[1, 2, 3], asked=3, table=Path("pairs/pairs.csv"), sheet=None, is_complete=True, describe=list
    )
    inference = stand_in(monkeypatch, "genseg_betty.inference", "generate", answer=made)
    assert status_of("generate", "run", "--count", "3", "--out", "pairs", "--format", "folder") == 0
    arguments = (Path("run"), 3, Path("pairs"), "folder", 0, False, "auto")
    assert inference.calls == [("generate", arguments, {"trust": False, "judge": None, "gate": True})]
    words = ("--judge", "a", "--min-agreement", "0.8", "--min-distance", "0")
    made.is_complete, made.asked = False, 4
    assert status_of("generate", "run", "--count", "4", "--out", "pairs", *words) == 1
    keywords = {"trust": False, "judge": Path("a"), "gate": True, "min_agreement": 0.8, "min_distance": 0.0}
    assert inference.calls[1][2] == keywords
    found = capsys.readouterr()
    assert "3 pairs in pairs\neach draw: pairs/pairs.csv\n" in found.out
    assert "1 of 4 pairs are missing" in found.err
    assert status_of("generate", "run", "--count", "3", "--out", "pairs", "--no-gate", "--min-distance", "0") == 1
    assert "--no-gate measures nothing" in capsys.readouterr().err


@pytest.fixture
def inference(monkeypatch: pytest.MonkeyPatch, places: Path) -> Calls:
    scores = {
        "dataset": "nlm_mc", "cases": 138, "dice": 0.84, "jaccard": 0.73, "per_case": "run/a.csv",
        "precision": 0.9, "recall": 0.8, "hd95": 3.5, "assd": 1.25, "surface_dice": 0.75,
        "distance_unit": "mm", "surface_tolerance": 2.0, "undefined_distances": 0, "classes": {},
    }  # fmt: skip
    answer = SimpleNamespace(**scores, to_dict=lambda: scores)
    names = ("evaluate_dataset", "evaluate_folders", "evaluate_predictions", "evaluate_prediction_folders")
    return stand_in(monkeypatch, "genseg_betty.inference", *names, answer=answer)


def test_evaluate_a_dataset(inference: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("evaluate", "run", "--dataset", "nlm_mc", "root=mc", "--json", "n_test=5") == 0
    [(name, (run, config, device), _)] = inference.calls
    assert (name, run, device) == ("evaluate_dataset", Path("run"), "auto")
    assert (config.name, config.root, config.n_test) == ("nlm_mc", "mc", 5)
    assert json.loads(capsys.readouterr().out) == inference.answer.to_dict()


def test_evaluate_folders(inference: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("evaluate", "--images", "i", "--masks", "m", "run") == 0
    arguments = (Path("run"), Path("i"), Path("m"), "auto")
    assert inference.calls == [("evaluate_folders", arguments, {"trust": False, "out": None})]
    assert capsys.readouterr().out.splitlines() == [
        "nlm_mc: 138 cases, Dice 0.8400, Jaccard 0.7300",
        "precision 0.900, recall 0.800, surface Dice 0.750 (within 2 mm)",
        "HD95 3.50 mm, ASSD 1.25 mm",
        "per case: run/a.csv",
    ]


def test_evaluate_masks_made_elsewhere(inference: Calls) -> None:
    """Without a Run: the first word is a key where it is none."""
    assert status_of("evaluate", "--predictions", "b", "--masks", "m", "--out", "i") == 0
    arguments = (Path("b"), Path("m"), None, [])
    assert inference.calls == [("evaluate_prediction_folders", arguments, {"out": Path("i")})]
    words = ("--dataset", "nlm_mc", "--predictions", "b", "root=mc", "n_test=5")
    assert status_of("evaluate", *words) == 0
    _, (name, (folder, config), keywords) = inference.calls
    assert (name, folder, keywords) == ("evaluate_predictions", Path("b"), {"out": None})
    assert (config.name, config.root, config.n_test) == ("nlm_mc", "mc", 5)


def test_evaluate_shows_intervals(inference: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"intervals": {"dice": (0.81, 0.86), "hd95": None}, "notes": ["one"], "page": "run/a.html"}
    inference.answer = SimpleNamespace(**inference.answer.to_dict(), page="run/a.html")
    found = vars(inference.answer) | more
    inference.answer.to_dict = lambda: found
    assert status_of("evaluate", "--images", "i", "--masks", "m", "run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "nlm_mc: 138 cases, Dice 0.8400 [0.8100, 0.8600], Jaccard 0.7300"
    assert lines[2:] == [
        "HD95 3.50 mm, ASSD 1.25 mm",
        "[low, high]: 95 % interval of the mean over the cases, by bootstrap",
        "note: one",
        "per case: run/a.csv",
        "page: run/a.html",
    ]


@pytest.mark.usefixtures("places")
def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    report = stand_in(monkeypatch, "genseg_betty.reporting", "build_report")
    assert status_of("report", "a", "b", "--out", "page.html") == 0
    assert status_of("report", "a") == 0
    assert report.calls == [
        ("build_report", ([Path("a"), Path("b")], Path("page.html"), None, None), {"has_figures": True}),
        ("build_report", ([Path("a")], Path("report.html"), None, None), {"has_figures": True}),
    ]


@pytest.mark.parametrize(("errors", "status"), [([], 0), (["missing_mask"], 1)])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_data_check(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    errors: list[str],
    status: int,
    flags: list[str],
) -> None:
    faults = [SimpleNamespace(code=code, file="a.png", message="has no mask") for code in errors]
    found = {
        "dataset": "nlm_mc",
        "root": "/x",
        "pairs": 7,
        "errors": [vars(f) for f in faults],
        "warnings": [],
    }
    answer = SimpleNamespace(**{**found, "errors": faults, "notes": ["one"]}, to_dict=lambda: found)
    check = stand_in(monkeypatch, "genseg_betty.data.inspect.check", "check_dataset", answer=answer)
    labels = "dataset.labels={background: 0, a: 1}"
    assert status_of("data", "check", "nlm_mc", *flags, f"root={tmp_path}", labels) == status
    assert check.calls[0][1][0].root == str(tmp_path)
    assert check.calls[0][1][0].labels == {"background": 0, "a": 1}
    output = capsys.readouterr().out
    if flags:
        assert json.loads(output) == found
    else:
        assert output.startswith("nlm_mc in /x: 7 pairs\nnote: one\n")
        assert all(code in output for code in errors)


@pytest.mark.parametrize("root", [None, "/x"])
def test_data_fetch_brings_a_dataset_to_its_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: str | None
) -> None:
    fetch = stand_in(monkeypatch, "genseg_betty.data.fetch", "fetch_dataset", answer=Path("/there"))
    fetch.Screen = contextlib.nullcontext
    assert status_of("data", "fetch", "kvasir", *([f"root={root}"] if root else [])) == 0
    [(_, (config, place, _), _)] = fetch.calls
    assert (config.name, place) == ("kvasir", Path(root) if root else None)
    assert capsys.readouterr().out == "/there\n"


def test_data_show_writes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "sheet.png"
    assert status_of("data", "show", "phantom", "--out", str(file), "--count", "3") == 0
    assert capsys.readouterr().out == f"3 cases in {file}\n"
    assert file.read_bytes().startswith(b"\x89PNG")


def test_data_list_has_a_line_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "masks"):
        (tmp_path / "folder" / folder).mkdir(parents=True)
    assert status_of("data", "list") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == dataset_names()
    assert sum("not found" in line for line in lines) >= len(lines) - 3


def test_data_list_goes_on_past_a_faulty_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "bad.yaml").write_text("name: bad\nimages: [\n")
    assert status_of("data", "list", "--config-dir", str(tmp_path)) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 + len(dataset_names())
    assert "bad  " in shown.out
    assert "bad.yaml" in shown.err


def test_starts_fast_and_from_anywhere(tmp_path: Path) -> None:
    code = (
        "import sys, genseg_betty, genseg_betty.cli as cli\n"
        "assert 'torch' not in sys.modules and 'hydra' not in sys.modules\n"
        "cli.main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"genseg {__import__('genseg_betty').__version__}"


def test_as_a_module_with_a_wrong_key(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "genseg_betty", "data", "check", "nlm_mc", "rot=/x"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "did you mean dataset.root" in done.stderr
    assert "Traceback" not in done.stderr
