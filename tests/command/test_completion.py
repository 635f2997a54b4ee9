"""What a shell offers at a TAB: asked of the scripts themselves where the shell is there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genseg_betty.commands.completion import SCRIPTS
from genseg_betty.commands.keys import find_keys
from genseg_betty.config import all_members, compose, dataset_names, group_members

OFFERS = [
    (["genseg", "pred"], ["predict"]),
    (["genseg", "se"], ["search", "second_backbone.", "seed="]),
    (["genseg", "sweep", "re"], ["resume"]),
    (["genseg", "back"], ["backbone=", "backbone."]),
    (["genseg", "backbone", "=", "un"], ["unet", "unet3d", "unet_classic"]),
    (["genseg", "backbone", "="], group_members("backbone")),
    (["genseg", "seed", "=", "1", "method", "=", "sep"], ["separate"]),
    (["genseg", "+dataset", "=", "nl"], ["nlm_mc", "nlm_sz"]),
    (["genseg", "trainer.it"], ["trainer.iterations="]),
    (["genseg", "trainer.opt"], ["trainer.optimizers."]),
    (["genseg", "trainer.select", "="], ["last", "best"]),
    (["genseg", "trainer.optimizers.segmenter.name", "="], ["adam", "adamw", "rmsprop", "sgd"]),
    (["genseg", "trainer.keep_warmup", "="], ["true", "false"]),
    (["genseg", "backbone", "=", "swinunet", "backbone.wi"], ["backbone.window="]),
    (["genseg", "backbone.wi"], []),
    (["genseg", "-m", "backbone", "=", "unet,dee"], ["unet,deeplab"]),
    (["genseg", "ood", "=", "[nlm_sz,nlm_m"], ["[nlm_sz,nlm_mc"]),
    (["genseg", "--conf"], ["--config-dir"]),
    (["genseg", "data", "ch"], ["check"]),
    (["genseg", "data", "check", "nl"], ["nlm_mc", "nlm_sz"]),
    (["genseg", "data", "check", "nlm_mc", "n_"], ["n_labelled=", "n_test="]),
    (["genseg", "evaluate", "RUN", "--dataset", "pha"], ["phantom", "phantom_shifted"]),
    (["genseg", "predict", "RUN", "--de"], ["--device"]),
    (["genseg", "predict", "RUN", "--device", "c"], ["cpu", "cuda"]),
    (["genseg", "predict", "ou"], []),  # files, which the shell offers
    (["genseg", "dataset.root", "=", "/da"], []),
    (["genseg", "help", "ev"], ["evaluate"]),
    (["genseg", "help", "data", "fe"], ["fetch"]),
    (["genseg", "completion", "z"], ["zsh"]),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command `genseg`, as an installation has it."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "genseg"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m genseg_betty "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_offers_them(program: Path) -> None:
    lines = [f'PATH={program}:$PATH; eval "$(genseg completion bash)"']
    for words, _ in OFFERS:
        quoted = " ".join(f"'{word}'" for word in words)
        lines.append(f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _genseg; echo "${{COMPREPLY[*]}}"')
    lines.append("complete -p genseg")
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    *found, registered = done.stdout.splitlines()
    assert [line.split() for line in found] == [offers for _, offers in OFFERS]
    assert "-F _genseg genseg" in registered
    assert not done.stderr


def test_a_shell_that_does_not_cut_at_equals_signs_gets_whole_words(program: Path) -> None:
    line = [program / "genseg", "__complete", "1", "genseg", "backbone=un"]
    found = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    assert found == ["backbone=unet", "backbone=unet3d", "backbone=unet_classic"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_of_each_shell_is_sound(shell: str, tmp_path: Path) -> None:
    assert "__complete" in SCRIPTS[shell]
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    file = tmp_path / "script"
    file.write_text(SCRIPTS[shell])
    subprocess.run([shell, "--no-execute" if shell == "fish" else "-n", str(file)], check=True)


def test_every_key_of_a_config_is_offered() -> None:
    """The keys that a completed config holds, beside those that are offered: none is missing, none is too many."""
    config = compose(["backbone=swinunet", "generator=spade"])
    keys = find_keys({"backbone": "swinunet", "generator": "spade"})
    for group in ("backbone", "generator", "trainer", "method", "augment"):
        offered = {key.split(".")[1] for key in keys if key.startswith(f"{group}.")}
        assert {key for key in config[group] if key != "_target_"} <= offered | {"discriminator", "objective"}
    assert {key for key in find_keys({}) if "." not in key} <= set(config)


def test_members_of_a_folder_of_ones_own_are_offered(program: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "wounds.yaml").write_text("name: wounds\n")
    line = [program / "genseg", "__complete", "3", "genseg", "--config-dir", str(tmp_path), "dataset=w"]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout.split() == ["dataset=wounds"]
    assert set(all_members()["dataset"]) == set(dataset_names())


def test_an_answer_imports_nothing_large() -> None:
    code = (
        "import sys\nfrom genseg_betty.cli import run\nrun(['__complete', '1', 'genseg', 'backbone='])\n"
        "assert not {'torch', 'hydra', 'omegaconf', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
