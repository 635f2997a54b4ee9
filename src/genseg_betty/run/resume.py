"""Whether a directory may be trained in: begin anew, continue what is there, or refuse and say why."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.keys import find_role
from genseg_betty.errors import UserError
from genseg_betty.files import bounded_json, remove_leftovers
from genseg_betty.lock import LOCK
from genseg_betty.run.checksums import SUMS, Checksums
from genseg_betty.run.plain_yaml import read_plain_yaml

STATES = ("running", "finished", "interrupted", "failed")
# All that a Run writes, and all that a restart deletes, in this order: after a kill in the middle nothing goes on from
# a checkpoint whose Run is half deleted, and status.json still says that the directory is a Run's.
OWNED = (
    "checkpoints/last.pt",
    "checkpoints/*.pt",
    SUMS,
    "config.yaml",
    "metrics.csv",
    "splits.json",
    "fingerprint.json",
    "results.json",
    "test-*.csv",
    "evaluate-*.csv",
    "tracking.json",
    "report.html",
    "report.csv",
    "samples/*.png",
    "status.json",
)
MAX_STATUS = 2**20  # bytes
LAST = Path("checkpoints", "last.pt")
OUTCOME = (Path("results.json"), Path("checkpoints", "predictor.pt"))  # what a training ends with
CONDITIONAL_GAN = "genseg_betty.generators.objectives.ConditionalGAN"
PATCH_DISCRIMINATOR = "genseg_betty.generators.discriminators.PatchDiscriminator"


def prepare(path: Path, config: DictConfig, resume: str) -> bool:
    """Make the locked directory `path` ready; returns whether there is a checkpoint to continue from."""
    if resume not in ("auto", "never", "restart"):
        raise UserError(f"resume={resume}: expected auto, never or restart")
    if resume == "never" and any(entry.name != LOCK for entry in path.iterdir()):
        raise UserError(f"{path} is not empty, and resume=never: name another run_dir, or use resume=auto or restart")
    if continues(path, resume):
        _refuse_link(path / "metrics.csv")
        _refuse_differences(path, config)
        remove_leftovers([path, *_folders(path)])
        return True
    state, step = _read_progress(path)
    if resume == "auto":
        _refuse_loss(path, state, step)
    _clear(path, is_run=state is not None)
    return False


def continues(path: Path, resume: str) -> bool:
    """Whether a training in `path` would go on from a checkpoint of its own."""
    return resume == "auto" and (path / LAST).exists()


def resolve(config: Mapping[str, Any] | DictConfig) -> DictConfig:
    """The config with all interpolations filled in, exactly as it will read back from config.yaml."""
    tree = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    return DictConfig(OmegaConf.create(OmegaConf.to_yaml(tree, resolve=True)))


def read_config(path: Path) -> DictConfig:
    """The config of the Run in `path`. Raises UserError if there is none or it cannot be read."""
    file = path / "config.yaml"
    if not file.is_file():
        raise UserError(f"there is no Run in {path}: expected {file}. Name a run directory, as given by run_dir=…")
    try:
        config = OmegaConf.create(read_plain_yaml(file))
    except Exception as error:  # the YAML library raises many kinds
        raise UserError(f"{file} cannot be read: {error}. Put back a copy of it.") from error
    if not isinstance(config, DictConfig) or not config:
        raise UserError(f"{file} holds no config: expected a mapping of keys to values. Put back a copy of it.")
    return migrated(config)


def migrated(config: DictConfig) -> DictConfig:
    """A config of an earlier version in this one's form: generators had Pix2Pix's losses there, and no choice."""
    generator = config.get("generator")
    if not isinstance(generator, DictConfig) or "l1_weight" not in generator or "objective" in generator:
        return config
    config = copy.deepcopy(config)
    generator = config.generator
    generator.objective = {"_target_": CONDITIONAL_GAN, "l1_weight": generator.pop("l1_weight")}
    opponent = {key: value for key, value in (generator.get("discriminator") or {}).items() if value != "instance"}
    generator.discriminator = {"_target_": PATCH_DISCRIMINATOR, **opponent}
    generator.branches, generator.kernels = "learnable", [4, 6, 8]
    return config


def differences(old: DictConfig, new: DictConfig, tested: bool = False) -> list[str]:
    """One line for every key that keeps `new` from continuing a Run of `old`: the key and both values.

    Args:
        tested: the Run has scores of its test sets already.
    """
    before, after = _flatten(old), _flatten(new)
    lines = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key, "absent"), after.get(key, "absent")
        same = was == now or (_unset(was) and _unset(now))
        if not same and not _may_change(key, was, now, tested):
            lines.append(f"{key}: {was} in the Run, {now} now")
    return lines


def _may_change(key: str, was: Any, now: Any, tested: bool) -> bool:
    """Whether a Run may be continued with another value of a dotted key."""
    on_resume = find_role(key).on_resume
    if on_resume == "grows":
        return isinstance(was, int) and isinstance(now, int) and now > was
    if on_resume == "until_tested":
        return not tested
    return on_resume == "free"


def _unset(value: Any) -> bool:
    """A key that an older version did not know says what it says when it is null, false or empty."""
    return value is None or value is False or value in ("absent", [], {})


def _has_tests(path: Path) -> bool:
    """Whether a Run has scores of its test sets, which a change of these sets would leave behind."""
    return (path / "results.json").exists() or any(path.glob("test-*.csv"))


def _refuse_differences(path: Path, config: DictConfig) -> None:
    lines = differences(read_config(path), config, tested=_has_tests(path))
    if not lines:
        return
    if not Checksums(path).matches(path / "config.yaml"):
        lines.append(f"(config.yaml does not hold what was written, by {SUMS}: put back a copy of it)")
    raise UserError(
        f"{path} holds a Run of another config, which cannot be continued with this one:\n  "
        + "\n  ".join(lines)
        + "\nUse the Run's values, another run_dir, or resume=restart (deletes the Run). "
        "trainer.iterations may only grow."
    )


def _refuse_loss(path: Path, state: str | None, step: int) -> None:
    """Raise UserError for a Run that has come somewhere, and whose last checkpoint is gone: it would be deleted."""
    has_outcome = any((path / outcome).exists() for outcome in OUTCOME)
    if state == "finished" or (state is not None and has_outcome):
        reached = "was finished before"
    elif step > 0:  # written after the checkpoint of that step
        reached = f"had come to step {step}"
    else:
        return
    raise UserError(
        f"the Run in {path} {reached}, but {path / LAST} is gone, so there is nothing to continue from. Put back a "
        "copy of it, name another run_dir, or use resume=restart to delete what the Run has and train again."
    )


def _refuse_link(file: Path) -> None:
    """Raise UserError for a link out of the Run; lines are added to this file, where all others are replaced."""
    if file.is_symlink() and not file.resolve().is_relative_to(file.parent):
        raise UserError(
            f"{file} leads to a file outside of the Run, which would be written to. Copy the file in, or name another "
            "run_dir."
        )


def _clear(path: Path, is_run: bool) -> None:
    """Delete what an earlier Run left. Files of these names that no Run wrote are refused; others stay."""
    folders = [path, *_folders(path)]
    found = dict.fromkeys(file for pattern in OWNED for file in path.glob(pattern))
    files = [file for file in found if file.parent in folders]
    if files and not is_run:
        names = ", ".join(sorted(str(file.relative_to(path)) for file in files)[:5])
        raise UserError(
            f"{path} is not a Run's directory (it has no status.json of one, or a damaged one) but holds {names}, "
            "which a Run would overwrite. Name another run_dir, or move these files away."
        )
    for file in files:
        file.unlink()
    remove_leftovers(folders)


def _folders(path: Path) -> list[Path]:
    """The Run's own folders; one that is a link may be shared with a Run that is alive."""
    return [path / name for name in ("checkpoints", "samples") if not (path / name).is_symlink()]


def _read_progress(path: Path) -> tuple[str | None, int]:
    """State and step in status.json; None and 0 if there is none, or if it is someone else's file."""
    try:
        status = bounded_json(path / "status.json", MAX_STATUS)
        state, step = status["state"], status.get("step")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, 0
    if state not in STATES:
        return None, 0
    return state, step if isinstance(step, int) else 0


def _flatten(config: DictConfig) -> dict[str, Any]:
    """Dotted key -> value; a list is one value."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                visit(f"{prefix}.{key}" if prefix else str(key), item)
        else:
            flat[prefix] = value

    visit("", OmegaConf.to_container(config, resolve=True))
    return flat
