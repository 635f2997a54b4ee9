"""From `logger=` to the service that it names. A service's package is imported for that one alone."""

import re
import secrets
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.tracking.service import Service

TITLES = {"wandb": "W&B", "tensorboard": "TensorBoard", "mlflow": "MLflow"}
"""Name of a service in the config -> what people call it."""
MODULES = {"wandb": "wandb", "tensorboard": "torch.utils.tensorboard", "mlflow": "mlflow"}
ENTRIES = {"wandb": "init", "tensorboard": "SummaryWriter", "mlflow": "MlflowClient"}
"""What a module of that name has, unless it is but a folder of the service's own output in the working directory."""


def import_service(name: str) -> ModuleType | None:
    """The package of a service; None for csv, which takes none. Raises UserError where it is missing or unknown."""
    if name == "csv":
        return None
    if name not in MODULES:
        listed = ", ".join(MODULES)
        raise UserError(f"logger={name}: expected csv, {listed}")
    install = f"pip install 'genseg-betty[{name}]'"
    try:
        module = import_module(MODULES[name])
    except ImportError as error:
        raise UserError(f"logger={name} needs the package {name}, which is missing ({error}): {install}") from error
    if not hasattr(module, ENTRIES[name]):
        raise UserError(f"logger={name} needs the package {name}, found only a folder {name}/: {install}")
    return module


def open_service(run: Run, config: Mapping[str, Any], tags: Sequence[str]) -> Service | None:
    """The service of `config.name`, begun or continued for this Run; None for csv.

    Raises UserError where its package is missing, or where it does not start.
    """
    name = config.get("name", "csv")
    package = import_service(name)
    if package is None:
        return None
    if name == "tensorboard":
        from genseg_betty.tracking.tensorboard_service import TensorBoardService

        return TensorBoardService(package, run, tags)
    identity = find_identity(run, name)
    if name == "mlflow":
        from genseg_betty.tracking.mlflow_service import MLflowService

        return MLflowService(package, run, config, tags, identity)
    from genseg_betty.tracking.wandb_service import WandbService

    return WandbService(package, run, config, tags, identity)


def find_identity(run: Run, service: str) -> str:
    """The id of this Run in a service, kept in tracking.json: made once, and the same after every resume."""
    key = f"{service}_id"
    found = run.read_json("tracking.json")
    stored = found if isinstance(found, dict) else {}
    known = stored.get(key)
    if not isinstance(known, str) or not re.fullmatch(r"\w{1,64}", known, re.ASCII):
        stored[key] = secrets.token_hex(8)  # services make a folder of that name: no path may be in it
    run.write_json("tracking.json", stored)
    identity: str = stored[key]
    return identity
