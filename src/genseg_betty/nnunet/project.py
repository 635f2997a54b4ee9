"""One training of nnU-Net in a Run's directory: where its files lie, and its three commands in their order."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genseg_betty.nnunet.budget import Budget, StepPlan
from genseg_betty.nnunet.commands import PLAN, PREDICT, TRAIN, UPDATES, Commands
from genseg_betty.nnunet.raw_dataset import PREPROCESSED, RAW, TEST_IMAGES

RESULTS = "nnUNet_results"
PLANS = "nnUNetPlans"
LOG = "nnunet.log"
FOLD = "0"


@dataclass(frozen=True)
class Project:
    """The folders and commands of a training on the data set `name` below `root`."""

    root: Path
    name: str
    configuration: str
    budget: Budget
    device: str

    @property
    def plans(self) -> Path:
        return self.root / PREPROCESSED / self.name / f"{PLANS}.json"

    @property
    def model(self) -> Path:
        folder = f"{self.budget.trainer}__{PLANS}__{self.configuration}"
        return self.root / RESULTS / self.name / folder

    @property
    def validation(self) -> Path:
        """The folder of the masks that nnU-Net predicts of the validation images once it is trained."""
        return self.model / f"fold_{FOLD}" / "validation"

    @property
    def predictions(self) -> Path:
        """The folder of the masks of the test images."""
        return self.root / RESULTS / self.name / "predictions"

    @property
    def is_trained(self) -> bool:
        """Whether the training has ended, its own validation too."""
        return (self.validation / "summary.json").is_file()

    @property
    def log(self) -> Path:
        return self.root / LOG

    def clear_folders(self) -> None:
        """Delete what an earlier training of this data set left."""
        for folder in (RAW, PREPROCESSED, RESULTS):
            path = self.root / folder / self.name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
        self.log.unlink(missing_ok=True)

    def plan_training(self) -> StepPlan:
        """Check the data set, measure it, plan and preprocess, by nnU-Net's own command."""
        number = self.name.removeprefix("Dataset")[:3]
        arguments = ["-d", str(int(number)), "-c", self.configuration, "--verify_dataset_integrity", "--clean"]
        self._run(PLAN, [*arguments, "-npfp", "2", "-np", "2"])
        return self.read_plan()

    def read_plan(self) -> StepPlan:
        return StepPlan.read(self.plans, self.configuration)

    def train_network(self, continuing: bool, follow: Callable[[str], object]) -> None:
        """Train, or go on from nnU-Net's last checkpoint; then nnU-Net predicts the validation images."""
        arguments = [self.name, self.configuration, FOLD, "-tr", self.budget.trainer, "-device", self.device]
        if continuing:
            arguments.append("--c")
        self._run(TRAIN, arguments, follow)

    def predict_tests(self) -> None:
        """Predict the test images; those that an interrupted call has predicted are left out."""
        images = self.root / RAW / self.name / TEST_IMAGES
        arguments = ["-i", str(images), "-o", str(self.predictions), *self.list_network_options()]
        few = ["-npp", "1", "-nps", "1", "--disable_progress_bar", "--continue_prediction"]
        self._run(PREDICT, [*arguments, *few, "-device", self.device])

    def list_network_options(self) -> list[str]:
        """What tells nnUNetv2_predict which network is meant."""
        return ["-d", self.name, "-c", self.configuration, "-f", FOLD, "-tr", self.budget.trainer]

    def _run(self, name: str, arguments: list[str], follow: Callable[[str], object] | None = None) -> None:
        settings = {UPDATES: str(self.budget.updates)}
        Commands(self.root, self.log).run_command(name, arguments, follow, settings)
