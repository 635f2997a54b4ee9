"""CutMix: where its rectangles lie, and that everything is mixed alike."""

import numpy as np
import pytest
import torch

from genseg_betty.augment.cutmix import CutMix, paste_boxes


def find_sides(box: torch.Tensor) -> tuple[int, int]:
    """Height and width of what is set, which must be one full rectangle."""
    rows, columns = box.any(dim=1).nonzero().flatten(), box.any(dim=0).nonzero().flatten()
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    assert int(box.sum()) == height * width
    return height, width


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 512)])
def test_boxes_are_rectangles_of_the_area_and_ratio_they_are_drawn_from(height: int, width: int) -> None:
    boxes = CutMix(1.0).draw_boxes(400, height, width)
    sides = np.array([find_sides(box) for box in boxes])
    relative = sides / (height, width)
    slack = 1 / height + 1 / width  # whole pixels
    areas, ratios = relative.prod(axis=1), relative[:, 0] / relative[:, 1]
    assert areas.min() > 0.02 - slack
    assert areas.max() <= 0.4
    assert areas.min() < 0.05
    assert areas.max() > 0.3
    assert ratios.min() > 0.3 * (1 - 12 * slack)
    assert ratios.max() < 1 / 0.3 * (1 + 12 * slack)


def test_boxes_reach_every_edge() -> None:
    seen = CutMix(1.0).draw_boxes(2000, 32, 48).any(dim=0)
    for edge in (seen[0], seen[-1], seen[:, 0], seen[:, -1]):
        assert edge.any()


def test_half_of_the_images_have_a_box() -> None:
    has_box = CutMix().draw_boxes(2000, 32, 32).flatten(1).any(dim=1)
    assert abs(float(has_box.float().mean()) - 0.5) < 0.05  # 4.5 standard errors
    assert not CutMix(0.0).draw_boxes(20, 32, 32).any()


def test_boxes_follow_from_the_seed() -> None:
    torch.manual_seed(3)
    one = CutMix().draw_boxes(8, 40, 32)
    torch.manual_seed(3)
    assert torch.equal(CutMix().draw_boxes(8, 40, 32), one)
    assert not torch.equal(CutMix().draw_boxes(8, 40, 32), one)


def test_images_labels_and_confidence_are_mixed_alike() -> None:
    boxes = CutMix(1.0).draw_boxes(3, 16, 12)
    image, label = torch.randn(3, 2, 16, 12), torch.randint(0, 4, (3, 16, 12))
    mixed = paste_boxes(image, -image, boxes), paste_boxes(label, label + 10, boxes)
    for number in range(3):
        for row in range(16):
            for column in range(12):
                inside = bool(boxes[number, row, column])
                expected = -image[number, :, row, column] if inside else image[number, :, row, column]
                assert torch.equal(mixed[0][number, :, row, column], expected)
                assert int(mixed[1][number, row, column]) == int(label[number, row, column]) + 10 * inside
