"""Where the numbers and pictures of a training go: metrics.csv always, and one service beside it on request.

metrics.csv is the truth. A service is given what stands there, each step once, whatever was killed and resumed.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from genseg_betty.run import Run
from genseg_betty.run.names import ARCHITECTURE_PHASE
from genseg_betty.tracking.alpha_course import AlphaCourse
from genseg_betty.tracking.outcome import choose_shown_cases, list_tables, read_sample, select_points, summarise_results
from genseg_betty.tracking.replay import replay_run
from genseg_betty.tracking.service import Outcome, Service
from genseg_betty.tracking.services import TITLES, open_service

ALPHA = "alpha"
"""The name of the heat map of α."""

DrawCase = Callable[[str, str], np.ndarray]
"""Test set and id of a case -> its image with the outlines of truth and prediction, uint8 [H, W, 3]."""


class Tracker:
    """Logs to a Run's metrics.csv and to the service that `logger_config` names; a context manager.

    A service that fails during the training is off from there on, and the training goes on: `warn` is called once with
    the reason; a display in use sets it to its own.

    Args:
        tags: what the training is found by: its dataset, backbone, generator, method and recipe.

    Raises:
        UserError: the service's package is missing, or the service does not start.
    """

    def __init__(self, run: Run, logger_config: Mapping[str, Any], tags: Sequence[str] = ()) -> None:
        self._run = run
        self.warn: Callable[[str], object] = warnings.warn
        self._alphas = AlphaCourse()
        self._title = TITLES.get(logger_config.get("name", "csv"), "")
        self._overlays = logger_config.get("overlays", 0)
        self._service: Service | None = open_service(run, logger_config, tags)
        self._owes_past = run.resuming and self._service is not None
        self._step = 0
        self._outcome: Outcome | None = None

    def log(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Log the values of one step; a service names them phase/name. The α have a heat map, and no curves there."""
        self._catch_up(step)
        self._run.log(step, phase, values)
        self._send_safely(lambda service: self._pass_on(service, step, phase, values))

    def image(self, step: int, name: str, path: Path) -> None:
        """Log a picture that lies in the Run."""
        self._catch_up(step)
        self._send_safely(lambda service: service.log_picture(step, name, read_sample(path)))

    def show_alphas(self, step: int) -> None:
        """Log the course of α so far as one heat map; nothing where no α is learned."""
        if self._service is not None and self._alphas.steps:
            self._send_safely(lambda service: service.log_picture(step, ALPHA, self._alphas.draw_map()))

    def add_results(self, results: Mapping[str, Any], draw_case: DrawCase) -> None:
        """Keep what the Run ends with for the service: test scores, tables of cases with pictures, the report.

        Args:
            results: what results.json says; its tables of cases and its report lie in the Run.
            draw_case: called for the cases that get a picture.
        """

        def collect_outcome(_: Service) -> None:
            tables = list_tables(self._run, results)
            overlays: dict[str, dict[str, np.ndarray]] = {}
            for test_set, rows in tables.items():
                chosen = choose_shown_cases(rows, results["metric"], self._overlays)
                overlays[test_set] = {case: draw_case(test_set, case) for case in chosen}
            report = self._run.path / "report.html"
            summary = summarise_results(results)
            points = select_points(summary, results["metric"])
            self._outcome = Outcome(summary, points, tables, overlays, report)

        self._send_safely(collect_outcome)

    def close(self, failed: bool = False) -> None:
        """Give the service what is left and end it; metrics.csv belongs to the Run and stays open."""
        self._catch_up(None)
        self.show_alphas(self._step)
        self._send_safely(lambda service: service.finish(self._outcome, failed))
        self._service = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=kind is not None)

    def _catch_up(self, before: int | None) -> None:
        """Give the service of a Run that goes on all that was logged earlier, `before` this step."""
        if not self._owes_past:
            return
        self._owes_past = False

        def give_past(service: Service) -> None:
            replay_run(self._run, partial(self._pass_on, service), service.log_picture, before)

        self._send_safely(give_past)

    def _pass_on(self, service: Service, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Give the service one step of a phase, but for the α, which are kept for their heat map."""
        self._step = step
        curves = self._alphas.take_alphas(step, values) if phase == ARCHITECTURE_PHASE else values
        named = {f"{phase}/{name}": float(value) for name, value in curves.items()}
        service.log_values(step, named)

    def _send_safely(self, action: Callable[[Service], object]) -> None:
        if self._service is None:
            return
        service = self._service
        try:
            action(service)
        except Exception as error:  # whatever a service raises must not cost the training
            self._service = None
            with suppress(Exception):
                service.finish(None, failed=True)
            reason = f"{type(error).__name__}: {error}"
            self.warn(f"{self._title} failed and is off from here on, metrics.csv goes on: {reason}")
