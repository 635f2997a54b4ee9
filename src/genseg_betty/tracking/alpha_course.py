"""The course of α as one picture: a row for each operation of each searched cell, a column for each validation."""

from collections.abc import Mapping

import numpy as np

from genseg_betty.run.names import AlphaName

ROW = 0.16  # inches that a row is high
WIDTH = 8.0  # inches of the whole picture
LABELS = 7  # size of the letters, points


class AlphaCourse:
    """α of every operation at each step that it was logged.

    Attributes:
        steps: the steps, in their order.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._columns: list[dict[str, float]] = []

    def take_alphas(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Keep the α among the values of a step. Returns the others."""
        alphas: dict[str, float] = {}
        others: dict[str, float] = {}
        for name, value in values.items():
            part = others if AlphaName.parse_metric(name) is None else alphas
            part[name] = float(value)
        if alphas:
            self.steps.append(step)
            self._columns.append(alphas)
        return others

    def draw_map(self) -> np.ndarray:
        """The heat map, uint8 [H, W, 3]. There is at least one step."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        names = list(self._columns[-1])
        grid = self.list_values()
        figure = Figure(figsize=(WIDTH, 1 + ROW * len(names)), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        shown = axes.imshow(grid, aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
        axes.set_yticks(range(len(names)), names, fontsize=LABELS)
        ticks = np.unique(np.linspace(0, len(self.steps) - 1, 6).round().astype(int))
        axes.set_xticks(ticks, [self.steps[tick] for tick in ticks])
        axes.set_xlabel("step")
        figure.colorbar(shown, label="α")
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def list_values(self) -> np.ndarray:
        """α as [operations, steps], the operations in the order of the last step."""
        names = list(self._columns[-1])
        columns = [[column.get(name, np.nan) for name in names] for column in self._columns]
        return np.array(columns).T
