"""Rows of cases and means of test sets against worked examples."""

import json
from typing import Any

import numpy as np
import pytest

from genseg_betty.metrics.scores import describe_scores, score_masks, summarise_cases

OVERLAPS, SURFACES = ["dice", "jaccard", "precision", "recall"], ["hd95", "assd", "surface_dice"]
BINARY, SEVERAL = ["foreground"], ["scar", "ulcer"]


def draw_points(**places: tuple[int, int]) -> np.ndarray:
    """5 x 9 pixels of background, but for a pixel of class 1 at `one` and a pixel of class 2 at `two`."""
    mask = np.zeros((5, 9), int)
    for index, name in enumerate(("one", "two"), start=1):
        if name in places:
            mask[places[name]] = index
    return mask


def summarise(*pairs: tuple[Any, Any, Any], classes: list[str] = BINARY) -> dict[str, Any]:
    cases = [score_masks(prediction, truth, len(classes) + 1, spacing) for prediction, truth, spacing in pairs]
    return summarise_cases(cases, classes)


EMPTY, POINT = draw_points(), draw_points(one=(2, 2))
BESIDE, FAR = draw_points(one=(2, 3)), draw_points(one=(2, 6))


def test_a_binary_row() -> None:
    row = score_masks(POINT, FAR, 2).make_row(BINARY)
    assert list(row) == [*OVERLAPS, *SURFACES, "distance_unit"]
    assert row == {**dict.fromkeys(OVERLAPS, 0.0), "hd95": 4.0, "assd": 4.0, "surface_dice": 0.0, "distance_unit": "px"}
    assert score_masks(POINT, FAR, 2, (1, 0.5)).make_row(BINARY)["hd95"] == 2.0


def test_classes_have_columns_by_name() -> None:
    prediction, truth = draw_points(one=(1, 1), two=(3, 3)), draw_points(one=(1, 4), two=(3, 3))
    row = score_masks(prediction, truth, 3, (1.0, 2.0)).make_row(SEVERAL)
    columns = [f"{score}_{name}" for score in [*OVERLAPS, *SURFACES] for name in SEVERAL]
    assert list(row) == [*OVERLAPS, *SURFACES, "distance_unit", *columns]
    assert (row["dice_scar"], row["dice_ulcer"], row["dice"]) == (0.0, 1.0, 0.5)
    assert (row["hd95_scar"], row["hd95_ulcer"], row["hd95"]) == (6.0, 0.0, 3.0)
    assert row["distance_unit"] == "mm"


def test_a_class_without_a_distance_is_left_out_of_the_case() -> None:
    row = score_masks(draw_points(one=(1, 1)), draw_points(one=(1, 4), two=(3, 3)), 3).make_row(SEVERAL)
    assert (row["hd95_scar"], row["hd95_ulcer"], row["hd95"]) == (3.0, None, 3.0)
    assert (row["dice"], row["surface_dice"]) == (0.0, 0.0)


def test_means_leave_out_undefined_distances_and_count_them() -> None:
    """HD95 4, 1, 0 (both empty) and two that are undefined."""
    pairs = [(POINT, FAR, None), (POINT, BESIDE, None), (EMPTY, EMPTY, None), (POINT, EMPTY, None), (EMPTY, FAR, None)]
    summary = summarise(*pairs)
    assert summary == {
        **dict.fromkeys(OVERLAPS, pytest.approx(1 / 5)), "cases": 5,
        "hd95": pytest.approx(5 / 3), "assd": pytest.approx(5 / 3), "surface_dice": pytest.approx(2 / 5),
        "distance_unit": "px", "surface_tolerance": 1.0, "undefined_distances": 2, "classes": {},
    }  # fmt: skip
    assert describe_scores(summary) == [
        "precision 0.200, recall 0.200, surface Dice 0.400 (within 1 px)",
        "HD95 1.67 px, ASSD 1.67 px; 2 undefined, as only one of truth and prediction shows the class",
    ]


def test_no_distance_at_all() -> None:
    summary = summarise((POINT, EMPTY, (1, 1)))
    assert (summary["hd95"], summary["assd"], summary["surface_dice"]) == (None, None, 0.0)
    assert "NaN" not in json.dumps(summary, allow_nan=False)
    assert describe_scores(summary)[1].startswith("no HD95 and no ASSD; 1 undefined,")


def test_units_are_not_mixed() -> None:
    summary = summarise((POINT, FAR, None), (POINT, BESIDE, (1, 1)))
    assert [summary[name] for name in (*SURFACES, "distance_unit", "surface_tolerance")] == [None] * 5
    assert summary["recall"] == 0.0
    assert describe_scores(summary) == [
        "precision 0.000, recall 0.000",
        "no mean distance: some cases state their spacing in mm, others state none",
    ]


def test_means_of_classes() -> None:
    pairs = [
        (draw_points(one=(1, 1), two=(3, 3)), draw_points(one=(1, 4), two=(3, 3)), (1, 1)),
        (draw_points(one=(1, 1)), draw_points(one=(1, 1), two=(3, 3)), (1, 1)),
    ]
    summary = summarise(*pairs, classes=SEVERAL)
    scar, ulcer = summary["classes"].values()
    assert (scar["dice"], scar["hd95"], ulcer["dice"], ulcer["hd95"]) == (0.5, 1.5, 0.5, 0.0)
    assert (summary["hd95"], summary["undefined_distances"]) == (0.75, 1)  # of 1.5 in the first case, 0 in the second
    assert describe_scores(summary)[2:] == ["scar: Dice 0.500, Jaccard 0.500", "ulcer: Dice 0.500, Jaccard 0.500"]


@pytest.mark.parametrize(("predictions", "constant"), [
    ([EMPTY, EMPTY], "background"),
    ([EMPTY + 1, EMPTY + 1], "scar"),
    ([EMPTY + 2, EMPTY + 2], "ulcer"),
    ([EMPTY, EMPTY + 1], None),
    ([EMPTY, POINT], None),
    ([POINT, POINT], None),
])  # fmt: skip
def test_predictions_of_one_class_alone_are_named(predictions: list[np.ndarray], constant: str | None) -> None:
    summary = summarise(*((prediction, FAR, None) for prediction in predictions), classes=SEVERAL)
    assert summary.get("constant_prediction") == constant
    assert ("constant_prediction" in summary) == (constant is not None)
    if constant:
        assert describe_scores(summary)[0] == f"every prediction is all {constant}"
