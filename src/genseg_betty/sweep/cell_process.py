"""`python -m genseg_betty.sweep.cell_process FOLDER NUMBER`: train one cell of the sweep in FOLDER."""

import sys
from pathlib import Path

from genseg_betty.errors import Interrupted
from genseg_betty.sweep.cell_training import train_cell
from genseg_betty.sweep.sweep_file import read_sweep
from genseg_betty.terminal import harmless_warnings


def run_cell(folder: str, number: str) -> int:
    """Returns the exit status: 0 finished, 1 failed, 128 + its number where a signal stopped it."""
    sweep = read_sweep(Path(folder))
    cell = sweep.cells[int(number) - 1]
    try:
        with harmless_warnings():
            outcome = train_cell(sweep, cell)
    except Interrupted as interrupt:
        return 128 + interrupt.signal_number
    return 0 if outcome.state == "finished" else 1


if __name__ == "__main__":
    sys.exit(run_cell(*sys.argv[1:]))
