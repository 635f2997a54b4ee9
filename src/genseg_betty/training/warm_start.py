"""Begin with the generator that another Run has warmed up, so that a sweep over backbones and seeds warms up once.

At the end of its warm-up (stage I alone) a Run keeps the levels of stage I whole in checkpoints/warmup.pt, and beside
them a description of all that the result depends on. Another Run may begin from there if its own description is equal.
With the same seed it then ends in the same bytes as if it had warmed up itself; with another seed it goes on from the
same generator.
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.multilevel.level import Level
from genseg_betty.run import Run
from genseg_betty.run.migrations import rename_levels
from genseg_betty.run.names import WARMUP_PHASE
from genseg_betty.training.console import tell_origin, tell_unused
from genseg_betty.training.saved_states import find_state_mismatches
from genseg_betty.training.warm_up_description import (
    SHOWN,
    Description,
    compare_images,
    compare_values,
    hash_description,
    write_canonically,
)

FILE = f"checkpoints/{WARMUP_PHASE}.pt"
FORM = 1  # of the file, and of what a description means: one more where an equal description gives another generator
MEND = "name another Run, or leave trainer.warm_start out"


def require_beginning(config: DictConfig, described: Description | None) -> None:
    """Raise UserError for a Run that cannot begin as `config` says; `described` is None without a generator."""
    source = config.trainer.warm_start
    warms_up = described is not None and described["steps"] > 0
    if not config.trainer.iterations and (source or not warms_up):
        raise UserError(
            "trainer.iterations=0 leaves the warm-up of a generator alone to be made, and this Run has none to make; "
            "expected 1 or more"
        )
    if source and described:
        if Path(source).expanduser().resolve() == Path(config.run_dir).expanduser().resolve():
            raise UserError(f"trainer.warm_start={source} is this Run itself (run_dir); {MEND}")
        _read_warm_up(source, described, mmap=True)


def begin_warm(run: Run, engine: PhasedEngine, described: Description | None) -> None:
    """Have a Run that begins anew go on from the generator of trainer.warm_start, if that names a Run.

    Raises UserError, with the engine as it was, if what is found there is no such warm-up.
    """
    source = run.config.trainer.warm_start
    if not source or run.resuming:
        return
    if described is None:
        tell_unused(source, run.config.method.name)
        return
    saved = _read_warm_up(source, described, map_location=engine.device)
    levels, steps = _find_warmed_levels(engine), described["steps"]

    # All states are looked at before any is loaded: a level that does not fit must not leave the others changed.
    faults = find_state_mismatches(levels, run.config.trainer.optimizers, saved.get("levels"), steps)
    if faults:
        raise UserError(
            f"trainer.warm_start={source}: the states in its {FILE} do not fit the networks of this Run, though they "
            f"are described alike: {'; '.join(faults[:SHOWN])}. The file is damaged, or code has changed since. "
            f"Warm up again there (resume=restart), {MEND}."
        )
    for level in levels:
        _load_level(level, saved["levels"][level.name])
    engine.done[WARMUP_PHASE] = engine.global_step = steps
    tell_origin(source, steps)


def save_warm_up(run: Run, engine: PhasedEngine, described: Description) -> None:
    """Write checkpoints/warmup.pt."""
    levels = {level.name: level.state_dict() for level in _find_warmed_levels(engine)}
    run.save_checkpoint(WARMUP_PHASE, {"form": FORM, "description": described, "levels": levels})


def find_origin(run: Run, engine: PhasedEngine, described: Description | None) -> dict[str, str] | None:
    """For results.json: the Run that the generator comes from, as it was named, and the SHA-256 of the description."""
    source = run.config.trainer.warm_start
    if described is None or not source:
        return None
    made = {**described, "steps": engine.done[WARMUP_PHASE]}  # a prolonged Separate would make more by itself
    return {"run": source, "sha256": hash_description(made)}


def _find_warmed_levels(engine: PhasedEngine) -> list[Level]:
    """The levels that the warm-up trains."""
    names = next(phase.leaves for phase in engine.plan.phases if phase.name == WARMUP_PHASE)
    return [level for level in engine.levels if level.name in names]


def _load_level(level: Level, state: dict[str, Any]) -> None:
    """Load a level's state, but keep the optimizer's options (learning rate and the like) as the config has them."""
    optimizer = {**level.optimizer.state_dict(), "state": state["optimizer"]["state"]}
    level.load_state_dict({**state, "optimizer": optimizer})


# -- what is found in the other Run ------------------------------------------------------------------------------


def _read_warm_up(source: str, described: Description, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """The content of warmup.pt of the Run `source`, its states unchecked. UserError unless it is described alike."""
    try:
        donor = Run.open(source)
        saved = donor.load_checkpoint(WARMUP_PHASE, map_location, mmap)
    except UserError as error:
        raise UserError(f"trainer.warm_start={source}: {error}") from error
    if saved is None:
        raise UserError(f"trainer.warm_start={source}: {_explain_absence(donor)}; {MEND}")
    found = _find_description(saved)
    if found is None:
        raise UserError(
            f"trainer.warm_start={source}: its {FILE} is no warm-up that this version knows (expected form "
            f"{FORM}): it is of another version, or not ours. Warm up again there (resume=restart), {MEND}."
        )
    _require_alike(source, found, described)
    levels = saved.get("levels")
    return {**saved, "levels": rename_levels(levels)} if isinstance(levels, dict) else saved


def _find_description(saved: Any) -> Description | None:
    """The description in a warmup.pt; None where it has none of this form and of plain values."""
    if not isinstance(saved, dict) or saved.get("form") != FORM:
        return None
    found = saved.get("description")
    try:
        write_canonically(found)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _explain_absence(donor: Run) -> str:
    before = OmegaConf.select(donor.config, "trainer.warm_start", throw_on_resolution_failure=False)
    if before:
        return f"it has no {FILE}, as it began from the warm-up of another Run itself: name that one ({before})"
    return (
        f"it has no {FILE}, which is written once the last step of its warm-up is done. Expected a Run that has come "
        "as far, of a method with a generator (genseg, separate), with trainer.warmup_iterations of 1 or more and "
        "without trainer.keep_warmup=false"
    )


def _require_alike(source: str, there: Description, here: Description) -> None:
    """Raise UserError with every difference of two descriptions."""
    lines = []
    mend = ""
    images = compare_images(there.pop("images", None), here["images"])
    if images:
        lines.append(images)
        splits = Path(source) / "splits.json"
        mend = f" The same images: dataset.split='{{file: {splits}}}' dataset.n_labelled=null."
    lines += compare_values(there, {key: value for key, value in here.items() if key != "images"})
    if lines:
        differences = "\n  ".join(lines)
        raise UserError(
            f"trainer.warm_start={source}: its generator was warmed up otherwise than that of this Run would be:\n  "
            f"{differences}\nGive this Run the same values, {MEND}.{mend}"
        )
