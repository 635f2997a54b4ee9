"""`python -m genseg_betty.sweep.submission FOLDER NUMBER…`: hand cells of the sweep in FOLDER to Hydra's launcher."""

import sys
from pathlib import Path

from genseg_betty.sweep.cell_training import train_cell
from genseg_betty.sweep.hydra_multirun import run_multirun
from genseg_betty.sweep.sweep_file import read_sweep


def submit_numbers(folder: str, *numbers: str) -> None:
    """Submit, and wait for the results. What a job calls is pickled: it reads the sweep anew, wherever it runs."""

    def train_number(number: int) -> None:
        sweep = read_sweep(Path(folder))
        train_cell(sweep, sweep.cells[number - 1])

    run_multirun(read_sweep(Path(folder)), [int(number) for number in numbers], train_number)


if __name__ == "__main__":
    submit_numbers(*sys.argv[1:])
