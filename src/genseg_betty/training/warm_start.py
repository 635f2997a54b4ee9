"""Begin with the generator that another Run has warmed up, so that a sweep over backbones and seeds warms up once.

At the end of its warm-up (stage I alone, Eq. 5 and 6) a Run keeps the levels of stage I whole in checkpoints/warmup.pt,
and beside them a description of all that the result depends on. Another Run may begin from there if its own description
is equal. The seed is no part of it: with the donor's a Run ends in the same bytes as if it had warmed up itself, with
another it goes on from the same generator. Nor is the code, nor the device. Validation images are no part of it either,
as no step of the warm-up sees one; and as the training images are equal, no validation image is among the donor's.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.loading import DataBundle
from genseg_betty.device import resolve_autocast, resolve_device
from genseg_betty.errors import UserError
from genseg_betty.levels.graph import WARMUP
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.multilevel.level import Level
from genseg_betty.run import Run
from genseg_betty.run.migrations import rename_levels
from genseg_betty.training.console import tell_origin, tell_unused
from genseg_betty.training.saved_states import misfits

Description = dict[str, Any]

FILE = f"checkpoints/{WARMUP}.pt"
FORM = 1  # of the file, and of what a description means: one more where an equal description gives another generator
STAGE_ONE = ("generator", "discriminator")  # the levels, and the keys of their optimizers
NAMES = {
    "steps": "steps of the warm-up (trainer.warmup_iterations; of separate trainer.iterations as well)",
    "augment": "augment (of stage I, by method.augment_pairs=both)",
}
SHOWN = 5  # ids in one message
LONGEST = 100  # characters of a value in a message
MEND = "name another Run, or leave trainer.warm_start out"


def describe(config: DictConfig, data: DataBundle, steps: int, augments: bool) -> Description:
    """Everything that a warm-up of `steps` steps depends on but the seed, in plain values.

    Args:
        augments: whether stage I moves its real pairs, as `config.augment` says.
    """
    generator: dict[str, Any] = _plain(config.generator)
    optimizers, labels = _plain(config.trainer.optimizers), data.dataset.labels
    if generator.get("discriminator") is None:
        optimizers["discriminator"] = None
    image = data.preprocessing.to_dict()
    autocast = resolve_autocast(config.precision, resolve_device(config.device))
    return {
        "images": {id: data.digests[id] for id in data.train.ids},
        **{f"dataset.{key}": image[key] for key in ("channels", "intensity", "spacing")},
        "dataset.labels": {"classes": data.num_classes, "threshold": labels.threshold, "values": _lookup(data)},
        "image_size": image["image_size"],
        "steps": steps,
        "trainer.batch_size": data.settings.batch_size,
        "trainer.optimizers": {name: optimizers[name] for name in STAGE_ONE},
        "generator": {key: value for key, value in generator.items() if key != "name"},  # a label
        "augment": _plain(config.augment) if augments else None,
        "precision": "bf16" if autocast else "fp32",
    }


def require_beginning(config: DictConfig, described: Description | None) -> None:
    """Raise UserError for a Run that cannot begin as `config` says; `described` is None without a generator."""
    source = config.trainer.warm_start
    if not config.trainer.iterations and (source or not (described and described["steps"])):
        raise UserError(
            "trainer.iterations=0 leaves the warm-up of a generator alone to be made, and this Run has none to make; "
            "expected 1 or more"
        )
    if source and described:
        if Path(source).expanduser().resolve() == Path(config.run_dir).expanduser().resolve():
            raise UserError(f"trainer.warm_start={source} is this Run itself (run_dir); {MEND}")
        _read(source, described, mmap=True)


def begin(run: Run, engine: PhasedEngine, described: Description | None) -> None:
    """Have a Run that begins anew go on from the generator of trainer.warm_start, if that names a Run.

    Raises UserError, with the engine as it was, if what is found there is no such warm-up.
    """
    source = run.config.trainer.warm_start
    if not source or run.resuming:
        return
    if described is None:
        tell_unused(source, run.config.method.name)
        return
    saved = _read(source, described, map_location=engine.device)
    levels, steps = _levels(engine), described["steps"]
    optimizers = {name: run.config.trainer.optimizers[name] for name in STAGE_ONE}
    faults = misfits(levels, optimizers, saved.get("levels"), steps)
    if faults:
        raise UserError(
            f"trainer.warm_start={source}: the states in its {FILE} do not fit the networks of this Run, though they "
            f"are described alike: {'; '.join(faults[:SHOWN])}. The file is damaged, or code has changed since. "
            f"Warm up again there (resume=restart), {MEND}."
        )
    for level in levels:
        state, own = saved["levels"][level.name], level.optimizer.state_dict()
        # What the config says of an optimizer is the config's to say.
        level.load_state_dict({**state, "optimizer": {**own, "state": state["optimizer"]["state"]}})
    engine.done[WARMUP] = engine.global_step = steps
    tell_origin(source, steps)


def keep(run: Run, engine: PhasedEngine, described: Description) -> None:
    """Write checkpoints/warmup.pt."""
    levels = {level.name: level.state_dict() for level in _levels(engine)}
    run.save_checkpoint(WARMUP, {"form": FORM, "description": described, "levels": levels})


def origin(run: Run, engine: PhasedEngine, described: Description | None) -> dict[str, str] | None:
    """For results.json: the Run that the generator comes from, as it was named, and the SHA-256 of the description."""
    if described is None or not run.config.trainer.warm_start:
        return None
    text = _canonical({**described, "steps": engine.done[WARMUP]})  # a prolonged Separate would make more by itself
    return {"run": run.config.trainer.warm_start, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _levels(engine: PhasedEngine) -> list[Level]:
    """Those that the warm-up trains."""
    names = next(phase.leaves for phase in engine.plan.phases if phase.name == WARMUP)
    return [level for level in engine.levels if level.name in names]


# -- what is found in the other Run ------------------------------------------------------------------------------


def _read(source: str, described: Description, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """The content of warmup.pt of the Run `source`, its states unchecked. UserError unless it is described alike."""
    try:
        donor = Run.open(source)
        saved = donor.load_checkpoint(WARMUP, map_location, mmap)
    except UserError as error:
        raise UserError(f"trainer.warm_start={source}: {error}") from error
    if saved is None:
        raise UserError(f"trainer.warm_start={source}: {_why_none(donor)}; {MEND}")
    found = saved.get("description") if isinstance(saved, dict) and saved.get("form") == FORM else None
    try:
        _canonical(found)
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(
            f"trainer.warm_start={source}: its {FILE} is no warm-up that this version knows (expected form "
            f"{FORM}): it is of another version, or not ours. Warm up again there (resume=restart), {MEND}."
        )
    _require_alike(source, found, described)
    levels = saved.get("levels")
    return {**saved, "levels": rename_levels(levels)} if isinstance(levels, dict) else saved


def _why_none(donor: Run) -> str:
    if before := OmegaConf.select(donor.config, "trainer.warm_start", throw_on_resolution_failure=False):
        return f"it has no {FILE}, as it began from the warm-up of another Run itself: name that one ({before})"
    return (
        f"it has no {FILE}, which is written once the last step of its warm-up is done. Expected a Run that has come "
        "as far, of a method with a generator (genseg, separate), with trainer.warmup_iterations of 1 or more and "
        "without trainer.keep_warmup=false"
    )


def _require_alike(source: str, there: Description, here: Description) -> None:
    """Raise UserError with every difference of two descriptions."""
    lines = [*_images(there.pop("images", None), here["images"])]
    mend = ""
    if lines:
        mend = f" The same images: dataset.split='{{file: {Path(source) / 'splits.json'}}}' dataset.n_labelled=null."
    lines += _differences(there, {key: value for key, value in here.items() if key != "images"})
    if lines:
        raise UserError(
            f"trainer.warm_start={source}: its generator was warmed up otherwise than that of this Run would be:\n  "
            + "\n  ".join(lines)
            + f"\nGive this Run the same values, {MEND}.{mend}"
        )


def _images(there: Any, here: dict[str, str]) -> Iterator[str]:
    """At most one line, of the training images."""
    there = there if isinstance(there, dict) else {}
    kinds = {
        "there alone": there.keys() - here.keys(),
        "here alone": here.keys() - there.keys(),
        "of other content": {id for id in there.keys() & here.keys() if there[id] != here[id]},
    }
    told = [f"{len(ids)} {kind} ({_some(ids)})" for kind, ids in kinds.items() if ids]
    if told or list(there) != list(here):
        yield f"training images: {', '.join(told) or 'the same in another order'}"


def _differences(there: Any, here: Any, place: str = "") -> Iterator[str]:
    """A line for each place at which two descriptions differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}, key=str):
            inner = f"{place}.{key}" if place else NAMES.get(key, key)
            yield from _differences(there.get(key, "absent"), here.get(key, "absent"), inner)
    elif there != here:
        yield f"{place}: {_short(there)} there, {_short(here)} here"


def _some(ids: Iterable[Any]) -> str:
    """Some of the names, in order."""
    names = sorted(map(str, ids))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _lookup(data: DataBundle) -> dict[str, int] | None:
    """Value in a mask file (colours packed) -> class; None where nothing is declared."""
    lookup = data.dataset.labels.lookup
    return None if lookup is None else {str(value): index for value, index in lookup.items()}


def _canonical(description: Any) -> str:
    """Raises TypeError, ValueError or RecursionError for what is no plain values."""
    return json.dumps(description, sort_keys=True)


def _plain(section: DictConfig) -> dict[str, Any]:
    values: dict[str, Any] = OmegaConf.to_container(section, resolve=True)  # type: ignore[assignment]
    return values
