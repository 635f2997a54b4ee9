"""A training that torchrun starts in several processes: whether it can be, what they agree on, and who writes."""

from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import DictConfig

from genseg_betty.errors import UserError
from genseg_betty.joint_batch import ask_first, require_even_shares
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.multilevel.joint_gradients import find_unlike
from genseg_betty.ranks import count_processes, is_first
from genseg_betty.run import Run
from genseg_betty.run.following_run import FollowingRun
from genseg_betty.run.saved_config import resolve_config
from genseg_betty.training.method import Method


def require_divisible(config: DictConfig, method: Method) -> None:
    """Raise UserError where several processes were started for what they cannot share; no data are read yet."""
    count = count_processes()
    if count == 1:
        return
    if not getattr(method, "divides_batches", False):
        raise UserError(
            f"method={config.method.name} trains in one process, and torchrun started {count}: start it without "
            "torchrun, or choose genseg, separate, or a method that learns from labelled pairs alone (combine, strong, "
            "vanilla and the like; docs/several_gpus.md)"
        )
    if config.trainer.batch_size:
        require_even_shares(config.trainer.batch_size)


def start_run(config: DictConfig, before_continuing: Callable[[Run], None]) -> Run:
    """Begin or continue the Run; of several processes the first one does, and the others follow it."""
    if is_first():
        started: list[Run] = []

        def start_first() -> bool:
            started.append(Run.start(config.run_dir, config, config.resume, before_continuing))
            return started[0].resuming

        ask_first(start_first)
        return started[0]
    resuming = ask_first(lambda: False)
    path = Path(config.run_dir).expanduser().resolve()
    return FollowingRun(path, resolve_config(config), resuming)


def describe_processes(batch_size: int, device: torch.device) -> list[str]:
    """For the screen: how several processes share the work; empty for a single one."""
    count = count_processes()
    if count == 1:
        return []
    lines = [
        f"{count} processes: each computes {batch_size // count} of the {batch_size} images of a batch; BatchNorm's "
        "statistics are those of all of them"
    ]
    if device.type == "cuda":
        lines.append("steps are launched kernel by kernel: no CUDA graph of a step with several processes")
    return lines


def require_equal_weights(engine: PhasedEngine) -> None:
    """Raise UserError where the processes no longer hold the same weights and buffers, to the bit."""
    groups = {level.name: [*level.module.parameters(), *level.module.buffers()] for level in engine.levels}
    unlike = find_unlike(groups)
    if unlike:
        raise UserError(
            f"the {count_processes()} processes hold different weights of {', '.join(unlike)} (step "
            f"{engine.global_step}); expected the same to the bit. Every checkpoint before this step is whole. Start "
            "all processes with the same command and package versions, on GPUs of one kind, or train in one process"
        )
