"""Results and reports of real Runs: they speak of a generator, a hypergradient and α where the Run has them."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from genseg_betty.reporting import build_report
from genseg_betty.reporting.reading import read_record
from genseg_betty.run import Run
from reporting.test_page import Page

GENERATOR = r"pix2pix(?!-)|Generator loss|Discriminator loss|warm-up|warmup_iterations|generator"
ARCHITECTURE = r"α|hypergradient|cell \d|precondition|arch_every|optimizers\.architecture"
FULL = {"vanilla": (False, False), "separate": (True, False), "genseg": (True, True)}


@pytest.mark.parametrize(("method", "generator", "learned"), [(name, *has) for name, has in FULL.items()])
def test_results_and_report_speak_of_what_there_is(
    real_runs: dict[str, Path], tmp_path: Path, method: str, generator: bool, learned: bool
) -> None:
    run = real_runs[method]
    results = json.loads((run / "results.json").read_text())
    assert results["generator"] == ("pix2pix" if generator else None)
    assert results["hypergradient"] == ("exact" if learned else None)
    assert (results["architecture"] is not None) == generator
    assert (results["warmup_iterations"] > 0) == generator
    assert results["name"] == method
    page = Page(build_report([run], tmp_path / "page.html")).words.replace(str(run), "")
    assert bool(re.search(GENERATOR, page)) == generator
    assert bool(re.search(ARCHITECTURE, page)) == learned
    assert ("Norm of the hypergradient" in page) == learned
    assert ("Decoder cell 1" in page) == learned
    assert ("Generator loss (stage I)" in page) == generator
    assert ("Segmentation loss (stage II)" in page) == generator
    assert ("mask_border" in page) == generator  # vanilla moves no image
    [row] = csv.DictReader((tmp_path / "page.csv").open(newline=""))
    assert row["generator"] == ("pix2pix" if generator else "")


@pytest.mark.parametrize(("method", "generator"), [(name, has) for name, (has, _) in FULL.items()])
def test_a_run_without_results_yet_is_known_by_what_it_has_logged(
    real_runs: dict[str, Path], tmp_path: Path, method: str, generator: bool
) -> None:
    shutil.copytree(real_runs[method], tmp_path / "begun")
    (tmp_path / "begun" / "results.json").unlink()
    record = read_record(tmp_path / "begun")
    assert record.has_generator == generator
    assert record.generator == ("pix2pix" if generator else "–")


def test_a_preset_says_which_networks_it_stands_for(real_runs: dict[str, Path], tmp_path: Path) -> None:
    results = Run.open(real_runs["genseg"]).read_json("results.json")
    assert results["networks"] == {
        "segmenter": "unet_classic (base_channels 4)",
        "generator": "pix2pix (base_channels 4, max_channels 8)",
    }
    assert (results["trainer"], results["reduced"]) == ("quick", None)  # all sizes are the user's own
    (tmp_path / "run").mkdir()
    run = Run.start(tmp_path / "run", Run.open(real_runs["genseg"]).config)
    reduced = "trainer=quick trains other networks than usual: a 4 (usually 64)"
    run.write_json("results.json", {**results, "reduced": reduced})
    run.close()
    page = Page(build_report([tmp_path / "run"], tmp_path / "page.html")).words
    assert "pix2pix (base_channels 4, max_channels 8) (of trainer=quick)" in page
    assert "a 4 (usually 64)" in page
    assert f"{results['n_unused']} others unused" in page
