"""Predictions of several Runs, of mirror images, by windows and in parts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from genseg_betty.backbones.sliding import slide
from genseg_betty.data import preprocessing as preprocessing_module
from genseg_betty.data import resampling
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.resampling import list_parts, resize, resize_part
from genseg_betty.device import is_out_of_memory
from genseg_betty.errors import UserError
from genseg_betty.inference import Predictor, predict, predict_images
from genseg_betty.inference.prediction import combination, windows
from genseg_betty.inference.prediction.combination import combine_logits, to_probabilities
from genseg_betty.inference.prediction.ensemble import Ensemble
from genseg_betty.inference.prediction.flips import average_over_flips
from genseg_betty.inference.prediction.windows import Windows

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("grid", "size"), [((16, 20), (97, 33)), ((64, 48), (20, 31)), ((5, 6, 7), (13, 9, 20)), ((9, 9, 9), (4, 18, 5))]
)
@pytest.mark.parametrize("most", [1, 300, 10**9])
def test_parts_make_the_whole(grid: tuple[int, ...], size: tuple[int, ...], most: int) -> None:
    planes = torch.randn(3, *grid)
    parts = [resize_part(planes, size, start, stop) for start, stop in list_parts(3, size, most)]
    joined = torch.cat(parts, dim=1)
    torch.testing.assert_close(joined, resize(planes, size), rtol=0, atol=1e-5)
    assert len(parts) > 1 or torch.equal(joined, resize(planes, size))


@pytest.mark.parametrize("shape", [(97, 33, 3), (9, 33, 4), (50, 20, 1)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("intensity", [(0.0, 255.0), None])
def test_a_large_image_is_read_in_parts(
    shape: tuple[int, ...], channels: int, intensity: tuple[float, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Preprocessing((16, 20), channels, intensity, ("background", "lung"), (0, 1))
    image = np.random.default_rng(4).integers(0, 256, shape).astype(np.float32)
    whole = reading.image(image)
    monkeypatch.setattr(resampling, "LARGE", 1)
    monkeypatch.setattr(resampling, "PART", 300)
    torch.testing.assert_close(reading.image(image), whole, rtol=0, atol=1e-6)


def test_a_large_mask_is_restored_in_parts(bright: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(4).integers(0, 256, (300, 200)).astype(np.float32)
    whole = bright(image)
    monkeypatch.setattr(preprocessing_module, "list_parts", lambda channels, size: list_parts(channels, size, 1000))
    assert (bright(image) != whole).mean() < 1e-3


@pytest.mark.parametrize("outputs", [1, 4])
def test_a_large_image_is_combined_in_parts(outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = max(2, outputs)
    members = [torch.randn(outputs, 8, 9), torch.randn(outputs, 5, 4)]
    whole = combine_logits(members, (40, 30), classes, probabilities=True, uncertainty=True)
    monkeypatch.setattr(combination, "list_parts", lambda channels, size: list_parts(channels, size, 500))
    parts = combine_logits(members, (40, 30), classes, probabilities=True, uncertainty=True)
    assert (whole.labels != parts.labels).mean() < 0.01
    assert whole.probabilities is not None
    assert parts.probabilities is not None
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-3)
    assert sum(parts.counts) == 1200
    assert parts.confidence == pytest.approx(whole.confidence, rel=0.05)
    mean = sum(to_probabilities(resize(logits, (40, 30))) for logits in members) / 2
    np.testing.assert_array_equal(whole.labels, mean.argmax(dim=0))
    np.testing.assert_allclose(whole.probabilities, mean, atol=1e-3)


def test_entropy_is_one_where_classes_are_alike() -> None:
    logits = torch.tensor([[[0.0, 50.0, 0.0]], [[0.0, 0.0, 0.0]], [[0.0, 0.0, -99.0]]])
    found = combine_logits([logits], (1, 3), 3, uncertainty=True)
    assert found.uncertainty is not None
    half = round(255 * np.log(2) / np.log(3))
    np.testing.assert_array_equal(found.uncertainty, [[255, 0, half]])


@pytest.mark.parametrize(("outputs", "sides"), [(1, (6, 7)), (3, (6, 7)), (1, (4, 5, 6)), (3, (4, 5, 6))])
def test_flips_average_probabilities(outputs: int, sides: tuple[int, ...]) -> None:
    kind = nn.Conv2d if len(sides) == 2 else nn.Conv3d
    network = kind(1, outputs, 3, padding=1).requires_grad_(False)
    image = torch.randn(1, 1, *sides)
    found = average_over_flips(network, image)
    assert found.shape == (1, outputs, *sides)
    mirrored = average_over_flips(network, image.flip(2, -1)).flip(2, -1)
    torch.testing.assert_close(found, mirrored, rtol=1e-4, atol=1e-5)
    total = torch.zeros(max(2, outputs), *sides)
    masks = range(2 ** len(sides))
    for chosen in masks:
        axes = [axis + 2 for axis in range(len(sides)) if chosen >> axis & 1]
        total += to_probabilities(network(image.flip(axes)).flip(axes)[0])
    torch.testing.assert_close(to_probabilities(found[0]), total / len(masks), rtol=1e-4, atol=1e-6)


def test_flips_change_nothing_of_a_network_that_sees_pixels_alone(bright: Predictor) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 48))
    torch.testing.assert_close(bright.logits(image, flips=True), bright.logits(image), rtol=1e-4, atol=1e-4)


class Greedy(nn.Module):
    """A network that runs out of memory with more than `most` windows at once."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.tried: list[int] = []

    def forward(self, windows: Tensor) -> Tensor:
        self.tried.append(len(windows))
        if len(windows) > self.most:
            raise self.error("DefaultCPUAllocator: can't allocate memory")
        return windows * 3


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_fewer_windows_at_once_where_memory_runs_out(error: type[Exception]) -> None:
    network = Greedy(1, error)
    segment = Windows(network, (4, 4, 4), 1, CPU)
    segment.batch_size = 4
    image = torch.rand(1, 1, 9, 8, 7)
    torch.testing.assert_close(segment(image), image * 3)
    assert network.tried[:3] == [4, 2, 1]
    network.tried.clear()
    segment(image)
    assert set(network.tried) == {1}  # what did not fit is not tried again


def test_a_window_that_never_fits_is_told() -> None:
    with pytest.raises(UserError, match="one window of 4 x 4 x 4 voxels does not fit into the memory"):
        Windows(Greedy(0), (4, 4, 4), 1, CPU)(torch.rand(1, 1, 9, 8, 7))
    with pytest.raises(RuntimeError, match="another fault"):
        Windows(lambda batch: raise_fault(), (4, 4, 4), 1, CPU)(torch.rand(1, 1, 9, 8, 7))


def raise_fault() -> Tensor:
    raise RuntimeError("another fault")


def test_logits_are_gathered_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the GPU if the whole volume takes less than half of what is free there, else in main memory."""
    card = torch.device("cuda")
    segment = Windows(nn.Identity(), (4, 4, 4), 2, card)
    assert segment.batch_size > 1
    image = torch.zeros(1, 1, 10, 10, 10)
    needed = 1000 * 4 * (1 + windows.GATHERED * 2)
    for free, place in ((2 * needed, card), (2 * needed - 1, CPU)):
        monkeypatch.setattr(windows, "free_memory", lambda device, free=free: free)
        assert segment._choose_place(image) == place


def test_windows_are_blended_as_before() -> None:
    network = nn.Conv3d(1, 2, 3, padding=1).requires_grad_(False)
    image = torch.randn(1, 1, 9, 10, 11)
    found = Windows(network, (4, 6, 4), 2, CPU)(image)
    torch.testing.assert_close(found, slide(network, image, (4, 6, 4)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ("background", "cyst")}, "classes background, cyst, not background, foreground"),
        ({"label_values": (0, 1)}, "label values 0, 1, not 0, 255"),
        ({"image_size": (8, 8, 8)}, "dimensions 3, not 2"),
    ],
)
def test_runs_that_do_not_agree_are_refused_together(preprocessing: Preprocessing, change: dict, said: str) -> None:
    predictors = [Predictor(nn.Conv2d(1, 1, 1), made) for made in (preprocessing, replace(preprocessing, **change))]
    with pytest.raises(UserError, match="Nothing was predicted") as caught:
        Ensemble([*predictors, predictors[1]], ["one", "two", "three"])
    message = str(caught.value)
    assert f"two has {said}" in message
    assert f"three has {said}" in message


def test_several_runs_decide_by_their_mean(
    threshold: Callable[..., nn.Module],
    preprocessing: Preprocessing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs of other sizes, channels and intensities: each reads the image in its own way."""
    sizes = {"one": ((40, 48), 1, (0.0, 255.0)), "two": ((20, 24), 3, (0.0, 100.0)), "three": ((40, 48), 1, None)}
    predictors = {}
    for name, (size, channels, intensity) in sizes.items():
        own = replace(preprocessing, image_size=size, channels=channels, intensity=intensity)
        predictors[name] = Predictor(threshold(channels=channels), own)
    monkeypatch.setattr(predict, "load", lambda run, device, trust: predictors[run])
    pixels = np.random.default_rng(5).integers(0, 256, (33, 47), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    (result,) = predict_images([*predictors], [tmp_path / "x.png"], tmp_path / "out", probabilities=True)
    expected = np.mean([predictor.probabilities(pixels) for predictor in predictors.values()], axis=0)
    np.testing.assert_allclose(np.load(result.files["probabilities"]), expected, atol=1e-3)
    assert result.mask is not None
    with Image.open(result.mask) as mask:
        np.testing.assert_array_equal(np.asarray(mask), np.where(expected[1] > 0.5, 255, 0))


def test_runs_of_other_orientations_are_averaged_voxel_by_voxel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nibabel

    network = nn.Conv3d(1, 1, 3, padding=1).requires_grad_(False)
    own = Preprocessing((4, 4, 4), 1, (0.0, 1.0), ("background", "liver"), (0, 1))
    predictors = {name: Predictor(network, replace(own, orientation=name)) for name in ("RAS", "LPI", "SAL")}
    monkeypatch.setattr(predict, "load", lambda run, device, trust: predictors[run])
    values = np.random.default_rng(6).random((6, 5, 7)).astype(np.float32)
    affine = np.diag([1.0, -1, 1, 1])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "x.nii")
    (result,) = predict_images([*predictors], [tmp_path / "x.nii"], tmp_path / "out", probabilities=True)
    found = nibabel.load(result.files["probabilities"]).get_fdata()
    each = [predictor.probabilities(values.T, None, affine) for predictor in predictors.values()]
    np.testing.assert_allclose(found.transpose(3, 2, 1, 0), np.mean(each, axis=0), atol=1e-3)


def test_an_image_beyond_the_memory_stops_no_other(
    bright: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "load", lambda run, device, trust: bright)
    for name in "ab":
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{name}.png")
    usual = Ensemble.predict_file

    def run_out(self: Ensemble, path: Path, *asked: bool):  # type: ignore[no-untyped-def]
        if path.stem == "a":
            raise MemoryError
        return usual(self, path, *asked)

    monkeypatch.setattr(Ensemble, "predict_file", run_out)
    large, small = predict_images("run", [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    assert large.failure == predict.NO_MEMORY
    assert small.mask is not None
    assert not is_out_of_memory(RuntimeError("another fault"))
