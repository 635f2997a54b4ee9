"""nnU-Net v2 (Isensee et al., Nature Methods 2021) as a rival, run by its own code on the same images.

It plans network, patches, batch, augmentation and learning rate itself; the split, the test images and the scores are
those of every other method.
"""

import resource
import sys
import time
from functools import partial
from typing import Any, Literal

from omegaconf import DictConfig

from genseg_betty.data.loading import DataBundle
from genseg_betty.device import resolve_device
from genseg_betty.errors import UserError
from genseg_betty.inference.scoring import score_cases
from genseg_betty.nnunet.budget import FULL_EPOCH, StepPlan, choose_budget
from genseg_betty.nnunet.commands import require_nnunet
from genseg_betty.nnunet.export import ExportedCases, export_cases
from genseg_betty.nnunet.predicted_masks import PredictedMasks
from genseg_betty.nnunet.project import Project
from genseg_betty.nnunet.raw_dataset import find_configuration, name_dataset
from genseg_betty.nnunet.training_log import TrainingLog
from genseg_betty.progress import Progress
from genseg_betty.run import Run
from genseg_betty.run.names import DICE, JACCARD, SECONDS, SEGMENTATION_PHASE, SEGMENTER, SYSTEM_PHASE
from genseg_betty.terminal import say
from genseg_betty.tracking import Tracker


class NNUNet:
    """Runs nnU-Net's commands in the Run's directory.

    Args:
        budget: equal: as many updates as trainer.iterations; own: its 1000 epochs of 250 updates.
        epochs: this many epochs of 250 updates, whatever the budget.
        resize: hand it images of image_size, in place of images as they are stored.

    Raises:
        UserError: nnU-Net is not installed.
    """

    has_generator = False
    learns_architecture = False
    trains_backbone = False
    uses_unlabelled = False

    def __init__(
        self, budget: Literal["equal", "own"] = "equal", epochs: int | None = None, resize: bool = False
    ) -> None:
        self.budget = budget
        self.epochs = epochs
        self.resize = resize
        self.version = require_nnunet()

    def describe_warm_up(self, config: DictConfig, data: DataBundle) -> None:
        return None

    def check_continuing(self, run: Run) -> None:
        """Raise UserError for a Run that has planned another number of updates."""
        state = run.load_checkpoint("last") or {}
        asked = choose_budget(self.budget, self.epochs, run.config.trainer.iterations)
        if state.get("updates") != asked.updates:
            raise UserError(
                f"the Run in {run.path} trains nnU-Net for {state.get('updates')} updates, over which its learning "
                f"rate falls to zero, so it cannot be prolonged to {asked.updates}. Train anew: another run_dir, or "
                "resume=restart (deletes the Run)."
            )

    def fit(self, run: Run, data: DataBundle, tracker: Tracker) -> tuple[PredictedMasks, dict[str, Any]]:
        """Export, plan, train and predict. Returns the masks, and the method's part of results.json."""
        config = run.config
        project = self._make_project(config, run, data)
        if self.resize and data.preprocessing.spatial_dims == 3:
            raise UserError("method.resize=true is for images; expected false, nnU-Net resamples volumes itself")
        if not run.resuming:
            project.clear_folders()
        say(f"nnU-Net: writes its files below {run.path}, and its log to {project.log}", file=sys.stderr)
        exported = export_cases(data, run.path, str(config.dataset.get("modality")), self.resize)

        # The state says what is done, for a Run that is interrupted; the rest of it is nnU-Net's own.
        state = (run.load_checkpoint("last") if run.resuming else None) or {"planned": False, "seconds": 0.0}
        state["updates"] = project.budget.updates
        run.save_checkpoint("last", state)
        if not state["planned"]:
            say("nnU-Net: checks the data set, plans and preprocesses", file=sys.stderr)
            project.plan_training()
            state["planned"] = True
            run.save_checkpoint("last", state)
        plan = project.read_plan()
        if not project.is_trained:
            _train_network(run, tracker, project, plan, state)
        if exported.test:
            say(f"nnU-Net: predicts {len(exported.test)} test images", file=sys.stderr)
            project.predict_tests()
        predictor = PredictedMasks(data.preprocessing, _list_masks(exported, project))
        run.save_checkpoint("predictor", {"nnunet": project.list_network_options(), "model": project.model.name})
        return predictor, self._describe_training(project, plan, state) | _validate(predictor, data, project)

    def _make_project(self, config: DictConfig, run: Run, data: DataBundle) -> Project:
        return Project(
            root=run.path,
            name=name_dataset(data.dataset.name),
            configuration=find_configuration(data.preprocessing.spatial_dims),
            budget=choose_budget(self.budget, self.epochs, config.trainer.iterations),
            device=resolve_device(config.device).type,
        )

    def _describe_training(self, project: Project, plan: StepPlan, state: dict[str, Any]) -> dict[str, Any]:
        """The method's part of results.json but for the validation."""
        budget = project.budget
        step = plan.describe_step()
        told = f"{budget.updates} updates in {budget.epochs} epochs (budget {budget.name}), {step}"
        sizes = "images at image_size" if self.resize else "images as stored"
        return {
            "backbone": "nnU-Net",
            "networks": {SEGMENTER: f"nnU-Net {self.version}, {plan.configuration} {plan.network}, {told}, {sizes}"},
            "budget": told,
            "reduced": None,
            "iterations": budget.updates,
            "iterations_asked": budget.updates,
            "seconds": state["seconds"],
            "seconds_per_iteration": state["seconds"] / budget.updates,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
            "skipped": {},
            "architecture": None,
            "parameters": {},
            "hypergradient": None,
            "warm_start": None,
            "nnunet": {
                "version": self.version,
                "configuration": plan.configuration,
                "network": plan.network,
                "budget": budget.name,
                "epochs": budget.epochs,
                "updates": budget.updates,
                "batch_size": plan.batch_size,
                "patch_size": list(plan.patch_size),
                "trainer": budget.trainer,
                "resized": self.resize,
            },
        }


def _train_network(run: Run, tracker: Tracker, project: Project, plan: StepPlan, state: dict[str, Any]) -> None:
    """Train with the progress on the screen and the losses in metrics.csv."""
    budget = project.budget
    say(f"nnU-Net: {plan.network}, {plan.describe_step()}; {budget.epochs} epochs", file=sys.stderr)
    log = TrainingLog(budget.updates, FULL_EPOCH)
    before = state["seconds"]
    started = time.monotonic()
    try:
        with Progress({SEGMENTATION_PHASE: budget.updates}) as progress:
            tracker.warn = progress.print_message
            follow = partial(_follow_line, run, log, tracker, progress, before, started)
            project.train_network(run.resuming, follow)
    finally:
        state["seconds"] = before + time.monotonic() - started
        run.save_checkpoint("last", state)


def _follow_line(
    run: Run, log: TrainingLog, tracker: Tracker, progress: Progress, before: float, started: float, line: str
) -> None:
    """Read a line of nnU-Net's, and tell what it says."""
    was_started = log.started is not None
    done = log.done
    ended = log.read_line(line)
    if not was_started and log.started is not None:
        run.drop_metrics_after(log.done)  # a training that goes on may have begun again before its last row
    if ended or log.done != done:
        progress.step(SEGMENTATION_PHASE, log.done, log.losses)
    if ended:
        seconds = before + time.monotonic() - started
        tracker.log(log.done, SEGMENTATION_PHASE, {SEGMENTER: log.losses.get("train_loss", float("nan"))})
        tracker.log(log.done, SYSTEM_PHASE, {SECONDS: seconds})
        run.status("running", step=log.done, message="nnU-Net trains")


def _list_masks(exported: ExportedCases, project: Project) -> dict[str, Any]:
    """The file of each predicted mask by the key of its image."""
    ending = exported.dataset.form.ending
    folders = dict.fromkeys(exported.validation, project.validation) | dict.fromkeys(exported.test, project.predictions)
    masks = {}
    for key, name in exported.keys.items():
        if name in folders:
            masks[key] = folders[name] / f"{name}{ending}"
    return masks


def _validate(predictor: PredictedMasks, data: DataBundle, project: Project) -> dict[str, Any]:
    """Scores of the validation images at the size of their masks, by the network of the last update."""
    cases = data.dataset.select_cases(data.splits.validation)
    _, scores = score_cases(predictor, data.dataset, cases)
    last = {name: scores[name] for name in (DICE, JACCARD)}
    return {"validation": {"best": scores[data.metric], "step": project.budget.updates, "last": last}}
