"""device=cuda where no GPU can be is told before PyTorch is asked."""

from pathlib import Path

import pytest

from genseg_betty.config.machine import require_card
from genseg_betty.errors import UserError


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_without_a_card_cuda_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nvme0").touch()  # a disk
    with pytest.raises(UserError, match=r"this machine has no GPU; use device=cpu or auto"):
        require_card("cuda", tmp_path)
    require_card("auto", tmp_path)
    require_card("cpu", tmp_path)


@pytest.mark.parametrize("name", ["nvidia0", "nvhost-gpu", "kfd", "dxg"])
def test_with_a_card_pytorch_has_the_last_word(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).touch()
    require_card("cuda", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    require_card("cuda", tmp_path)
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES hides every GPU"):
            require_card("cuda", tmp_path)


def test_no_other_system_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    require_card("cuda", tmp_path)
