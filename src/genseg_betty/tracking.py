"""Where the numbers and pictures of a training go: metrics.csv always, Weights & Biases on request."""

import re
import secrets
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.run import Run

INSTALL = "pip install 'genseg-betty[wandb]'"


class Tracker:
    """Logs to a Run's metrics.csv and, with logger.name=wandb, to W&B (logger.mode: offline unless said).

    A continued Run goes on in the same W&B run. W&B failing during the training ends W&B, not the training:
    `warn` is called once with the reason; a display in use sets it to its own.
    """

    def __init__(self, run: Run, logger_config: Mapping[str, Any]) -> None:
        self._run = run
        self.warn: Callable[[str], object] = warnings.warn
        self._wandb: Any = None
        name = logger_config.get("name", "csv")
        if name == "wandb":
            self._module = _import_wandb()
            self._wandb = _start_wandb(self._module, run, logger_config)
        elif name != "csv":
            raise UserError(f"logger={name}: expected csv or wandb")

    def log(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Log the values of one step; in W&B they are named phase/name."""
        self._run.log(step, phase, values)
        row: dict[str, float] = {"step": step}
        for name, value in values.items():
            row[f"{phase}/{name}"] = float(value)
        self._send_safely(lambda wandb: wandb.log(row))

    def image(self, step: int, name: str, path: Path) -> None:
        """Log a picture that lies in the Run."""

        def log_picture(wandb: Any) -> None:
            picture = self._module.Image(str(path))
            wandb.log({"step": step, name: picture})

        self._send_safely(log_picture)

    def close(self) -> None:
        """Finish the W&B run; metrics.csv belongs to the Run and stays open."""
        self._send_safely(lambda wandb: wandb.finish())
        self._wandb = None

    def _send_safely(self, action: Callable[[Any], object]) -> None:
        if self._wandb is None:
            return
        try:
            action(self._wandb)
        except Exception as error:  # whatever W&B raises must not cost the training
            self._wandb = None
            reason = f"{type(error).__name__}: {error}"
            self.warn(f"W&B failed and is off from here on, metrics.csv goes on: {reason}")


def _import_wandb() -> ModuleType:
    try:
        import wandb
    except ImportError as error:
        raise UserError(f"logger=wandb needs the package wandb, which is missing: {INSTALL}") from error
    if not hasattr(wandb, "init"):  # a folder of W&B's own output in the working directory imports as well
        raise UserError(f"logger=wandb needs the package wandb, found only a folder wandb/: {INSTALL}")
    return wandb


def _start_wandb(wandb: ModuleType, run: Run, config: Mapping[str, Any]) -> Any:
    """Start or continue the W&B run of this Run. The step is a value of its own: W&B's must never fall."""
    stored = run.read_json("tracking.json")
    known = stored.get("wandb_id", "") if isinstance(stored, dict) else ""
    if not isinstance(known, str) or not re.fullmatch(r"\w{1,64}", known, re.ASCII):
        stored = {"wandb_id": secrets.token_hex(8)}  # W&B makes a folder of that name: no path may be in it
    run.write_json("tracking.json", stored)
    mode = config.get("mode") or "offline"
    try:
        started = wandb.init(
            project=config.get("project") or "genseg",
            entity=config.get("entity"),
            mode=mode,
            id=stored["wandb_id"],
            resume="allow",
            name=run.config.get("name") or run.path.name,
            dir=str(run.path),
            config=OmegaConf.to_container(run.config),
            settings=wandb.Settings(console="off"),
        )
        started.define_metric("step")
        started.define_metric("*", step_metric="step")
    except Exception as error:
        raise UserError(
            f"W&B did not start with logger.mode={mode}: {error}. Log in with `wandb login`, "
            "or use logger.mode=offline or logger=csv."
        ) from error
    return started
