"""$MPLBACKEND, as a notebook hands it to what it starts, does not matter; one that is known stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("backend", "kept"),
    [
        ("module://matplotlib_inline.backend_inline", None),
        ("nonsense", "agg"),
        ("tkagg", "tkagg"),
        ("svg", "svg"),
        ("", ""),
    ],
)
def test_a_backend_that_is_unknown_does_not_matter(backend: str, kept: str | None) -> None:
    code = (
        "import os, genseg_betty\n"
        "from genseg_betty.reporting.figures import MetricSeries, draw_line_chart\n"
        "import genseg_betty.data.inspect.contact_sheet, matplotlib.pyplot\n"
        "assert '<svg' in draw_line_chart('a', [MetricSeries('a', [(0, 1), (1, 2)])])\n"
        "print(os.environ['MPLBACKEND'])"
    )
    surroundings = {**os.environ, "MPLBACKEND": backend}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=surroundings, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert kept is None or done.stdout.strip() == kept


def test_a_matplotlib_in_the_current_folder_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise SystemExit('code of a stranger')")
    surroundings = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    words = [sys.executable, "-m", "genseg_betty", "--version"]
    done = subprocess.run(
        words, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
