"""Methods compared on what they have in common: against SciPy and a loop, and which differences are marked."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy import stats

from genseg_betty.reporting import build_report
from genseg_betty.reporting.contrast_table import list_cells
from genseg_betty.reporting.contrasts import (
    Contrast,
    compare_groups,
    correct_contrasts,
    find_contrast,
    measure_contrast,
)
from genseg_betty.reporting.groups import group_runs
from genseg_betty.reporting.paired_scores import pair_scores
from genseg_betty.reporting.reading import read_record
from genseg_betty.reporting.score_columns import describe_overlaps, list_columns
from genseg_betty.run import Run
from reporting.test_page import Page, rows_of

MakeRun = Callable[..., Path]
Tables = dict[Any, dict[str, float]]


def compare_runs(*runs: Path) -> list[Contrast]:
    return compare_groups(group_runs([read_record(run) for run in runs]))


def read_dice(run: Path, test_set: str) -> dict[str, float]:
    with (run / f"test-{test_set}.csv").open(newline="") as file:
        return {row["id"]: float(row["dice"]) for row in csv.DictReader(file)}


def keep_cases(run: Path, test_set: str, keep: slice) -> None:
    """Leave only some rows in a table of cases; results.json has their mean."""
    file = run / f"test-{test_set}.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *rows[keep]]) + "\n")
    results = json.loads((run / "results.json").read_text())
    dice = read_dice(run, test_set)
    results["test"][test_set] |= {"dice": float(np.mean(list(dice.values()))), "cases": len(dice)}
    (run / "results.json").write_text(json.dumps(results))


def imagine_tables(seeds: list[int], gain: float, cases: int = 40) -> Tables:
    """Scores of one method; those of the same seed and case have the same noise whatever the gain."""
    tables: Tables = {}
    for seed in seeds:
        random = np.random.default_rng(seed)
        scores = 0.7 + gain * random.random(cases)
        tables[seed] = {f"case_{index:02}": float(score) for index, score in enumerate(scores)}
    return tables


def measure(ours: Tables, theirs: Tables) -> Contrast:
    [contrast] = correct_contrasts([measure_contrast(Contrast("a", "b", "set", "dice", pair_scores(ours, theirs)))])
    return contrast


# -- pairing -----------------------------------------------------------------------------------------------------------


def test_pairs_are_of_the_same_seed_and_case() -> None:
    ours = {1: {"x": 0.1, "y": 0.2, "z": 0.3}, 2: {"y": 0.5, "z": 0.6, "x": 0.4}}
    theirs = {2: {"z": 0.06, "y": 0.05, "w": 0.9}, 1: {"y": 0.02, "z": 0.03}, 3: {"z": 0.0, "y": 0.0}}
    paired = pair_scores(ours, theirs)
    assert (paired.seeds, paired.cases, paired.left_out) == ([1, 2], ["y", "z"], (1, 1))
    assert paired.ours.tolist() == [[0.2, 0.3], [0.5, 0.6]]
    assert paired.theirs.tolist() == [[0.02, 0.03], [0.05, 0.06]]


@pytest.mark.parametrize(("ours", "theirs", "cells"), [
    ({}, {0: {"x": 0.5}}, "0 cases (0 and 1 others), 0 seeds"),
    ({}, {}, "cases unknown, 0 seeds"),
    ({0: {"x": 0.5}}, {0: {"y": 0.5}}, "0 cases (1 and 1 others), 1 seed"),
    ({0: {"x": 0.5}}, {1: {"x": 0.5}}, "1 case, 0 seeds"),
])  # fmt: skip
def test_nothing_in_common_is_said_and_not_compared(ours: Tables, theirs: Tables, cells: str) -> None:
    contrast = measure(ours, theirs)
    assert list_cells(contrast)[4:] == [cells, "–", "–", "–", "–"]
    assert not contrast.is_marked


# -- what is measured --------------------------------------------------------------------------------------------------


def test_a_contrast_against_scipy(make_run: MakeRun) -> None:
    seeds = range(3)
    vanilla = [make_run("vanilla", seed) for seed in seeds]
    genseg = [make_run("genseg", seed, 0.03) for seed in seeds]
    contrasts = compare_runs(*vanilla, *genseg)
    assert [contrast.test_set for contrast in contrasts] == ["nlm_sz", "nlm_mc"]
    p_values = []
    for contrast in contrasts:
        theirs, ours = (
            np.array([list(read_dice(run, contrast.test_set).values()) for run in runs]) for runs in (vanilla, genseg)
        )
        assert contrast.difference == pytest.approx(ours.mean() - theirs.mean())
        assert contrast.t_test is not None
        assert contrast.t_test.p == pytest.approx(stats.ttest_rel(ours.mean(1), theirs.mean(1)).pvalue)
        p_values.append(stats.wilcoxon(ours.mean(0), theirs.mean(0)).pvalue)
        assert contrast.p_cases == pytest.approx(p_values[-1])
        assert contrast.interval is not None
        assert contrast.interval.low < contrast.difference < contrast.interval.high
        assert contrast.is_higher == (contrast.t_test.p < 0.05)  # all else that a mark asks for is there
    corrected = [2 * min(p_values), max(2 * min(p_values), *p_values)]
    assert sorted(contrast.p_corrected or 0 for contrast in contrasts) == pytest.approx(corrected)


def test_methods_are_compared_with_the_first_of_their_setting(make_run: MakeRun) -> None:
    """Another number of images is another setting, with a reference of its own."""
    few = [make_run("vanilla"), make_run("genseg", gain=0.05)]
    more = make_run("vanilla", name="more", gain=0.09)
    results = json.loads((more / "results.json").read_text())
    (more / "results.json").write_text(json.dumps({**results, "n_labelled": 40}))
    contrasts = compare_runs(*few, more)
    assert {(contrast.method, contrast.reference) for contrast in contrasts} == {
        ("genseg (9 of nlm_sz, unet_classic · pix2pix)", "vanilla (9 of nlm_sz, unet_classic)")
    }
    assert compare_runs(few[0], more) == []


def test_methods_that_differ_in_the_generator_alone_are_two(make_run: MakeRun) -> None:
    pix2pix, spade = make_run(), make_run(name="spade", gain=0.05)
    results = json.loads((spade / "results.json").read_text())
    (spade / "results.json").write_text(json.dumps({**results, "generator": "spade"}))
    config = Run.open(spade).config
    (spade / "config.yaml").write_text(
        OmegaConf.to_yaml({**config, "generator": {**config.generator, "name": "spade"}})
    )
    groups = group_runs([read_record(run) for run in (pix2pix, spade)])
    contrasts = compare_groups(groups)
    assert [find_contrast(contrasts, groups[0], name) for name in ("nlm_sz", "nlm_mc")] == [None, None]
    assert find_contrast(contrasts, groups[1], "nlm_sz") is contrasts[0]


# -- what is marked ----------------------------------------------------------------------------------------------------


def test_a_difference_is_marked_with_evidence_alone() -> None:
    reference = imagine_tables([0, 1, 2], gain=0.0)
    better = measure(imagine_tables([0, 1, 2], gain=0.1), reference)
    assert (better.is_marked, better.is_higher) == (True, True)
    assert list_cells(better)[5].endswith(" ★")
    worse = measure(imagine_tables([0, 1, 2], gain=-0.1), reference)
    assert (worse.is_marked, worse.is_higher) == (True, False)

    # Two seeds are too few, and so are five cases; both are measured as far as they go.
    two = measure(imagine_tables([0, 1], gain=0.1), imagine_tables([0, 1], gain=0.0))
    assert two.p_corrected is not None
    assert two.p_corrected < 0.001
    assert not two.is_marked
    five = measure(imagine_tables([0, 1, 2], 0.1, cases=5), imagine_tables([0, 1, 2], 0.0, cases=5))
    assert (five.interval, five.p_cases, five.is_marked) == (None, None, False)
    assert five.t_test is not None
    assert measure(imagine_tables([0, 1, 2], 0.1, cases=6), imagine_tables([0, 1, 2], 0.0, cases=6)).p_cases == 2 / 64


def test_no_mark_where_the_seeds_disagree() -> None:
    """Every case is better on average, and one seed of three is worse: other seeds might be as well."""
    ours = {seed: dict.fromkeys(imagine_tables([0], 0)[0], 0.7 + gain) for seed, gain in enumerate((0.3, 0.2, -0.01))}
    contrast = measure(ours, imagine_tables([0, 1, 2], gain=0.0))
    assert contrast.p_corrected is not None
    assert contrast.p_corrected < 0.001
    assert contrast.interval is not None
    assert not contrast.interval.excludes_zero
    assert not contrast.is_marked


def test_no_mark_where_the_seeds_spread_too_far() -> None:
    """All seeds and cases are better, so the interval is above 0; the spread over seeds says that it may be chance."""
    ours = {seed: dict.fromkeys(imagine_tables([0], 0)[0], 0.7 + gain) for seed, gain in enumerate((0.3, 0.2, 0.02))}
    contrast = measure(ours, imagine_tables([0, 1, 2], gain=0.0))
    assert contrast.p_corrected is not None
    assert contrast.p_corrected < 0.001
    assert contrast.interval is not None
    assert contrast.interval.low > 0
    assert contrast.t_test is not None
    assert contrast.t_test.p == pytest.approx(stats.ttest_1samp([0.3, 0.2, 0.02], 0).pvalue)
    assert contrast.t_test.p > 0.05
    assert not contrast.is_marked


def test_no_mark_that_the_correction_takes_away() -> None:
    """p of one test alone is 0.031, of two such tests 0.0625."""
    paired = pair_scores(imagine_tables([0, 1, 2], 0.1, cases=6), imagine_tables([0, 1, 2], 0.0, cases=6))
    alone = measure_contrast(Contrast("a", "b", "set", "dice", paired))
    assert [contrast.is_marked for contrast in correct_contrasts([alone])] == [True]
    both = correct_contrasts([alone, alone])
    assert [contrast.p_corrected for contrast in both] == [0.0625, 0.0625]
    assert [contrast.is_marked for contrast in both] == [False, False]


# -- other cases -------------------------------------------------------------------------------------------------------


def test_runs_tested_on_other_cases_share_no_column(make_run: MakeRun, tmp_path: Path) -> None:
    vanilla, genseg = make_run("vanilla"), make_run("genseg")
    keep_cases(vanilla, "nlm_sz", slice(0, 100))
    keep_cases(genseg, "nlm_sz", slice(60, 166))
    columns = list_columns([read_record(run) for run in (vanilla, genseg)])
    assert [(column.title, len(column.cases)) for column in columns] == [
        ("nlm_sz · case list 1", 100), ("nlm_sz · case list 2", 106), ("nlm_mc", 138),
    ]  # fmt: skip
    told = "nlm_sz: case list 1 has 100 cases, case list 2 has 106 cases; 40 of them are in common."
    assert describe_overlaps(columns) == [told]
    groups = group_runs([read_record(run) for run in (vanilla, genseg)])
    assert [[len(group.find_scores(column, "dice")) for column in columns] for group in groups] == [
        [1, 0, 1], [0, 1, 1],
    ]  # fmt: skip
    contrast = compare_groups(groups)[0]
    assert (len(contrast.paired.cases), contrast.paired.left_out) == (40, (66, 60))
    ours, theirs = read_dice(genseg, "nlm_sz"), read_dice(vanilla, "nlm_sz")
    common = [ours[name] - theirs[name] for name in ours if name in theirs]
    assert contrast.difference == pytest.approx(sum(common) / 40)
    words = Page(build_report([vanilla, genseg], tmp_path / "page.html")).words
    assert told in words
    assert "40 cases (66 and 60 others), 1 seed" in words


def test_runs_without_a_table_of_cases_have_a_column_of_their_own(make_run: MakeRun, tmp_path: Path) -> None:
    vanilla, genseg = make_run("vanilla"), make_run("genseg")
    (genseg / "test-nlm_sz.csv").unlink()
    columns = list_columns([read_record(run) for run in (vanilla, genseg)])
    assert [column.title for column in columns] == ["nlm_sz", "nlm_sz · cases unknown", "nlm_mc"]
    assert list_cells(compare_runs(vanilla, genseg)[0])[4] == "0 cases (0 and 166 others), 0 seeds"
    assert "cases unknown" in Page(build_report([vanilla, genseg], tmp_path / "page.html")).words


def test_a_case_named_twice_or_without_a_score_is_left_out(make_run: MakeRun) -> None:
    vanilla, genseg = make_run("vanilla"), make_run("genseg")
    file = genseg / "test-nlm_sz.csv"
    rows = file.read_text().splitlines()
    file.write_text("\n".join([*rows[:-1], rows[1], f"{rows[-1].split(',')[0]},,"]) + "\n")
    assert len(compare_runs(vanilla, genseg)[0].paired.cases) == 164


# -- files -------------------------------------------------------------------------------------------------------------


def test_the_csv_says_what_the_page_says(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run(method, seed, gain) for method, gain in (("vanilla", 0.0), ("genseg", 0.03)) for seed in range(3)]
    build_report(runs, tmp_path / "page.html")
    rows = rows_of(tmp_path / "page.csv")
    assert len({row["cases_sha256"] for row in rows if row["test_set"] == "nlm_sz"}) == 1
    assert {row["compared_with"] for row in rows if row["method"] == "vanilla"} == {""}
    [contrast, _] = compare_runs(*runs)
    assert contrast.interval is not None
    assert contrast.t_test is not None
    for row in rows:
        if (row["method"], row["test_set"]) == ("genseg", "nlm_sz"):
            found = [row[name] for name in ("seeds_in_common", "cases_in_common", "cases_left_out", "marked", "metric")]
            assert found == ["3", "166", "0", str(int(contrast.is_marked)), "dice"]
            numbers = [row[name] for name in ("difference", "interval_low", "interval_high", "p_t", "p_holm")]
            expected = [contrast.difference, contrast.interval.low, contrast.interval.high, contrast.t_test.p]
            assert [float(number) for number in numbers] == pytest.approx([*expected, contrast.p_corrected])


def test_the_scores_of_all_cases_are_kept(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("vanilla"), make_run("genseg")]
    build_report(runs[:1], tmp_path / "one.html")
    assert not (tmp_path / "one-cases.csv").exists()
    build_report(runs, tmp_path / "page.html")
    rows = rows_of(tmp_path / "page-cases.csv")
    assert len(rows) == 2 * (166 + 138)
    found = {row["id"]: float(row["dice"]) for row in rows if (row["run"], row["test_set"]) == ("genseg-s0", "nlm_mc")}
    assert found == read_dice(runs[1], "nlm_mc")
    assert {(row["method"], row["n_labelled"], row["backbone"], row["generator"]) for row in rows} == {
        ("vanilla", "9", "unet_classic", ""), ("genseg", "9", "unet_classic", "pix2pix"),
    }  # fmt: skip


def test_further_scores_of_methods_are_listed_with_their_unit(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("vanilla", seed) for seed in range(2)] + [make_run("genseg")]
    for run, distance in zip(runs, (3.0, 5.0, 2.5), strict=True):
        results = json.loads((run / "results.json").read_text())
        for scores in results["test"].values():
            scores |= {"hd95": distance, "distance_unit": "mm", "surface_dice": 0.75}
        (run / "results.json").write_text(json.dumps(results))
    words = Page(build_report(runs, tmp_path / "page.html")).words
    assert "HD95, mm" in words
    assert "4.000 ± 1.414" in words[words.index("Further scores") :]
