"""Text of strangers on the terminal: nothing in it steers it."""

import io
import warnings
from pathlib import Path

import pytest
from PIL import Image

import genseg_betty
from genseg_betty.cli import main
from genseg_betty.errors import ConfigError, UserError
from genseg_betty.progress import Progress
from genseg_betty.terminal import harmless, harmless_warnings, say

HOSTILE = {
    "\x1b[2J\x1b]0;title\x07": r"\x1b[2J\x1b]0;title\x07",
    "a\rb\x08c\x7f": r"a\rb\x08c\x7f",
    "\x9b31m": r"\x9b31m",  # one character in place of ESC [
    "scan\u202egnp.exe": r"scan\u202egnp.exe",
    "\u2066x\u2069\u200f": r"\u2066x\u2069\u200f",
    "line\u2028line": r"line\u2028line",
    "byte\udcff": r"byte\udcff",
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_what_would_steer_is_shown_as_its_code(
    text: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert harmless(text) == shown
    assert str(UserError(text)) == shown
    assert str(ConfigError([text])) == f"1 problem in the configuration:\n  - {shown}"
    say(text)
    assert capsys.readouterr().out == f"{shown}\n"
    stream = io.StringIO()
    Progress({"joint": 1}, stream=stream).print_message(text)
    assert stream.getvalue() == f"{shown}\n"
    with harmless_warnings():
        assert shown in warnings.formatwarning(text, UserWarning, "file", 1)


def test_text_of_any_language_stays() -> None:
    text = "Überblick\tнога 肺 קובץ 👩‍⚕️\nzweite Zeile"
    assert harmless(text) == text


def test_an_error_about_a_strangers_file_prints_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run\x1b[8m"
    run.mkdir()
    (run / "config.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(SystemExit):
        main(["predict", str(run), str(run), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert r"run\x1b[8m" in printed.err


def test_what_pydicom_says_of_each_slice_and_pillow_of_large_pictures_is_left_out() -> None:
    with warnings.catch_warnings(record=True) as found, harmless_warnings():
        warnings.warn_explicit("Unknown encoding", UserWarning, "charset.py", 1, module="pydicom.charset")
        warnings.warn_explicit(
            "Image size (9 pixels) exceeds limit of 8 pixels, could be decompression bomb DOS attack.",
            Image.DecompressionBombWarning,
            "Image.py",
            1,
        )
        warnings.warn_explicit("all else", UserWarning, "other.py", 1, module="other")
    assert [str(warning.message) for warning in found] == ["all else"]


def test_our_own_warnings_are_told_without_a_line_of_code() -> None:
    ours = str(Path(genseg_betty.__file__).parent / "run" / "__init__.py")
    with harmless_warnings():
        assert warnings.formatwarning("a\x1bb", UserWarning, ours, 1) == "genseg: a\\x1bb\n"
        assert "UserWarning" in warnings.formatwarning("text", UserWarning, "/elsewhere/library.py", 1)
