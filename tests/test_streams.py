"""stdout and stderr that are closed, full, broken, or of few letters: nothing that is printed ends the work."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORK = """
import sys, warnings
from genseg_betty.streams import output_fault, unfailing_streams
with unfailing_streams():
    for count in range(2000):
        print("a line, 3×4 …", count, flush=count % 100 == 0)
        print("a line, 3×4 …", count, file=sys.stderr)
    warnings.warn("a warning …")
    fault = output_fault()
    with open(sys.argv[1], "w") as file:
        file.write(f"done {fault}")
"""


def work(tmp_path: Path, shell: str = "", **options: Any) -> str:
    """Do the work, with its streams as the shell says; returns what it left: "done" and what was lost."""
    result = tmp_path / "result"
    code = tmp_path / "work.py"
    code.write_text(WORK)
    words = f"exec {sys.executable} {code} {result} {shell}"
    done = subprocess.run(["bash", "-c", words], timeout=60, check=False, **options)
    assert done.returncode == 0
    return result.read_text()


@pytest.mark.parametrize(
    ("shell", "lost"),
    [
        (">&-", None),
        ("2>&-", None),
        ("<&- >&- 2>&-", None),
        (">/dev/full", "No space left on device"),
        ("2>/dev/full", None),
        (">/dev/full 2>&1", "No space left on device"),
        ("> >(true)", None),
        ("2> >(true)", None),
        ("> >(head -1) 2>&1", None),
    ],
)
def test_streams_that_take_nothing_end_no_work(tmp_path: Path, shell: str, lost: str | None) -> None:
    streams = {} if "&-" in shell else {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert work(tmp_path, shell, **streams) == f"done {lost}"


def test_a_terminal_that_is_gone(tmp_path: Path) -> None:
    terminal, own = pty.openpty()
    os.close(terminal)
    assert work(tmp_path, stdout=own, stderr=own) == "done None"
    os.close(own)


@pytest.mark.parametrize(
    ("surroundings", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, b"a line, 3\\xd74 \\u2026 0"),
        ({"PYTHONIOENCODING": "latin-1"}, b"a line, 3\xd74 \\u2026 0"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"a line, 3\\xd74 \\u2026 0"),
        ({"PYTHONIOENCODING": "utf-8"}, "a line, 3×4 … 0".encode()),
    ],
)
def test_letters_that_cannot_be_shown_become_codes(tmp_path: Path, surroundings: dict[str, str], shown: bytes) -> None:
    output = tmp_path / "output"
    without = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
    for number, shell in enumerate((f"> {output}", f"2> {output}")):
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**without, **surroundings}}
        assert work(tmp_path, shell, **streams) == "done None"
        assert output.read_bytes().splitlines()[0] == shown, number


def test_a_closed_stream_lends_its_number_to_no_file(tmp_path: Path) -> None:
    """Else what libraries write to descriptor 2 lands in the first file that the work opens, say metrics.csv."""
    code = (
        "import os, sys\nfrom genseg_betty.streams import unfailing_streams\n"
        "with unfailing_streams(), open(sys.argv[1], 'w') as file:\n"
        "    assert file.fileno() > 2\n    os.write(2, b'of a library')\n    file.write('a row')"
    )
    words = f'exec {sys.executable} -c "$0" {tmp_path / "metrics.csv"} 2>&-'
    subprocess.run(["bash", "-c", words, code], timeout=60, check=True)
    assert (tmp_path / "metrics.csv").read_text() == "a row"


@pytest.mark.parametrize("columns", ["0", "1", "999999999999", "wide", ""])
def test_a_line_is_printed_whatever_the_width(tmp_path: Path, columns: str) -> None:
    code = (
        "from rich.console import Console\nfrom genseg_betty.streams import unfailing_streams\n"
        "with unfailing_streams():\n    Console().print('a line of a training', soft_wrap=True)"
    )
    surroundings = {**os.environ, "COLUMNS": columns, "TERM": "dumb"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=surroundings, timeout=60, check=True, capture_output=True, text=True)
    assert done.stdout == "a line of a training\n"


def test_a_pipe_that_does_not_wait_is_waited_for(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    reader = subprocess.Popen(["wc", "-l"], stdin=read, stdout=subprocess.PIPE, text=True)
    os.close(read)
    assert work(tmp_path, stdout=write, stderr=subprocess.DEVNULL) == "done None"
    os.close(write)
    assert reader.communicate()[0].strip() == "2000"


def test_streams_of_others_stay(capsys: pytest.CaptureFixture[str]) -> None:
    from genseg_betty.streams import unfailing_streams

    before = sys.stdout, sys.stderr
    with unfailing_streams():
        assert (sys.stdout, sys.stderr) == before
