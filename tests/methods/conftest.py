"""Fixtures of the trainings that are looked at in numbers alone."""

import pytest

from genseg_betty.training import sample_images as pictures


@pytest.fixture
def pictures_unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks still draw their samples, but nobody looks at them, and encoding takes longest of all."""
    monkeypatch.setattr(pictures, "save_samples", lambda path, columns: None)
