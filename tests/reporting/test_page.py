"""The report: scores as in the Runs, whole and escaped, whatever a Run lacks."""

import csv
import json
import os
import platform
import re
import shutil
import statistics
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scipy import stats

from genseg_betty import reporting
from genseg_betty.errors import UserError
from genseg_betty.reporting import build_report
from genseg_betty.reporting.figures import MetricSeries, draw_histogram, draw_line_chart, thin_points
from genseg_betty.reporting.groups import group_runs
from genseg_betty.reporting.reading import find_last_samples, read_record
from genseg_betty.run import Run
from genseg_betty.run.checksums import SUMS

MakeRun = Callable[..., Path]
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Reads a page: its text, its tags, and whether every tag is closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data + " "


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_run_shows_scores_first_and_everything_behind_them(make_run: MakeRun) -> None:
    run = make_run()
    page = Page(build_report([run], run / "report.html"))
    test = json.loads((run / "results.json").read_text())["test"]
    for name in ("nlm_sz", "nlm_mc"):
        assert f"{test[name]['dice']:.3f}" in page.words
    assert "9 labelled images (7 to train, 2 to validate) of NLM-SZ, Shenzhen chest X-ray" in page.words
    headings = ["Pictures", "Cases", "Training", "Architecture", "How it was made"]
    assert [page.words.index(f" {heading} ") for heading in headings] == sorted(
        page.words.index(f" {heading} ") for heading in headings
    )
    worst = min(rows_of(run / "test-nlm_mc.csv"), key=lambda row: float(row["dice"]))["id"]
    for expected in (
        worst,
        "Encoder cell 1",
        "Decoder cell 4",
        "8 / 2 / 3, 4 / 2 / 1",
        "2 min 22 s",
        "584 MiB",
    ):
        assert expected in page.words
    for expected in ("3,400,000", "torch 2.15.0", "Not finite: 2 generator steps skipped.", "validation 000450"):
        assert expected in page.words
    assert "validation 000300" not in page.words
    assert "not finished" not in page.words


def test_the_page_needs_nothing_from_outside(make_run: MakeRun, tmp_path: Path) -> None:
    out = build_report([make_run(), make_run("vanilla")], tmp_path / "new" / "folder" / "page.html")
    page = Page(out)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not {"href", "srcset", "onclick", "action"} & attributes.keys()
        assert (attributes.get("src") or "data:").startswith("data:image/png;base64,") or tag != "img"
    assert not re.search(r"url\(|@import|https?://", out.read_text())


def test_the_table_holds_means_spreads_and_paired_tests(make_run: MakeRun, tmp_path: Path) -> None:
    seeds = range(3)
    runs = {
        method: [make_run(method, seed, gain) for seed in seeds] for method, gain in (("vanilla", 0), ("genseg", 0.05))
    }
    out = build_report([*runs["vanilla"], *runs["genseg"]], tmp_path / "page.html")
    words = Page(out).words
    scores = {
        method: [json.loads((run / "results.json").read_text())["test"]["nlm_sz"]["dice"] for run in found]
        for method, found in runs.items()
    }
    for values in scores.values():
        assert f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" in words
    p = stats.ttest_rel(scores["genseg"], scores["vanilla"]).pvalue
    gain = statistics.mean(scores["genseg"]) - statistics.mean(scores["vanilla"])
    row = rf"nlm_sz Dice 166 cases, 3 seeds {re.escape(f'{gain:+.3f}')} ★ \S+ to \S+ {p:.3f} < 0\.001 "
    assert re.search(row, words)
    assert f"{statistics.mean(scores['genseg']):.3f} ± {statistics.stdev(scores['genseg']):.3f} ★" in words
    assert "2 methods over 6 Runs on nlm_sz" in words
    assert words.count("trained on") == 2  # above the scores and above the further ones


def test_the_csv_has_a_row_per_run_and_test_set(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("vanilla"), make_run("genseg")]
    with Run.start(tmp_path / "begun", {"seed": 5, "method": {"name": "genseg"}}):
        pass
    build_report([*runs, runs[0], tmp_path / "begun"], tmp_path / "page.html")
    rows = rows_of(tmp_path / "page.csv")
    assert [(row["method"], row["test_set"]) for row in rows] == [
        ("vanilla", "nlm_sz"), ("vanilla", "nlm_mc"),
        ("genseg", "nlm_sz"), ("genseg", "nlm_mc"), ("genseg", ""),
    ]  # fmt: skip
    first = rows[0]
    results = json.loads((runs[0] / "results.json").read_text())
    assert float(first["dice"]) == results["test"]["nlm_sz"]["dice"]
    assert (first["out_of_domain"], first["cases"], first["seed"]) == ("0", "166", "0")
    assert (first["generator"], rows[2]["generator"], first["validation_step"]) == ("", "pix2pix", "440")
    assert (rows[1]["out_of_domain"], rows[4]["state"], rows[4]["seed"]) == ("1", "running", "5")


def test_what_a_method_takes_beyond_others_stands_beside_its_scores(make_run: MakeRun, tmp_path: Path) -> None:
    """Of the real Runs: 2 images a batch, 10 + 3 updates of the generator, 2 validation images."""
    methods = ("vanilla", "separate", "genseg")
    words = Page(build_report([make_run(method) for method in methods], tmp_path / "page.html")).words
    words = words[: words.index("Further scores")]
    of_separate = "4 images a step, 13 generator updates"
    of_genseg = f"{of_separate}, 2 validation images learned from"
    assert words.count("beyond supervised training: ") == 2
    assert f"beyond supervised training: {of_separate} " in words
    assert f"beyond supervised training: {of_genseg} " in words
    found = [row["beyond"] for row in rows_of(tmp_path / "page.csv")]
    assert found == ["", "", of_separate, of_separate, of_genseg, of_genseg]


def test_the_csv_has_the_further_scores(make_run: MakeRun, tmp_path: Path) -> None:
    """Empty where a Run, such as one of an earlier version, or a test set has none."""
    run = make_run()
    results = json.loads((run / "results.json").read_text())
    results["test"]["nlm_sz"] |= {"recall": 0.5, "hd95": 3.5, "assd": None, "surface_dice": 0.75, "distance_unit": "mm"}
    results["test"]["nlm_mc"] = {"dice": 0.8, "jaccard": 0.7, "cases": 138}
    (run / "results.json").write_text(json.dumps(results))
    build_report([run], tmp_path / "page.html")
    first, second = rows_of(tmp_path / "page.csv")
    columns = ["recall", "hd95", "assd", "surface_dice", "distance_unit"]
    assert [first[column] for column in columns] == ["0.5", "3.5", "", "0.75", "mm"]
    assert [second[column] for column in columns] == [""] * 5


def test_synthetic_and_validation_images_have_galleries_of_their_own(make_run: MakeRun, tmp_path: Path) -> None:
    """One picture of each method that has one, of its first seed."""
    vanilla, *genseg = make_run("vanilla"), make_run(), make_run(seed=1)
    for run in genseg:
        shutil.copyfile(run / "samples" / "validation-000450.png", run / "samples" / "synthetic-000450.png")
    words = " ".join(Page(build_report([vanilla, *genseg], tmp_path / "page.html")).words.split())
    shown = words[words.index("Pictures") : words.index("Each Run")]
    assert shown.startswith("Pictures Synthetic images genseg, seed 0 Validation images vanilla, seed 0 genseg, seed 0")
    alone = " ".join(Page(build_report([vanilla, make_run("vanilla", 1)], tmp_path / "page.html")).words.split())
    assert "Synthetic images" not in alone


def test_a_page_of_many_runs_leaves_out_the_samples_of_the_last_ones(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run("vanilla", seed) for seed in range(3)]
    counts = []
    for most in (3, 1):
        monkeypatch.setattr("genseg_betty.reporting.comparison.MAX_SAMPLED", most)
        page = Page(build_report(runs, tmp_path / "page.html"))
        counts.append(sum(tag == "img" for tag, _ in page.tags))
        assert page.words.count("its own report shows them") == 3 - most
    assert counts == [1 + 3, 1 + 1]  # one of the method, and one of each Run


def test_runs_that_differ_in_more_than_the_seed_are_kept_apart(make_run: MakeRun) -> None:
    runs = [
        make_run(seed=0),
        make_run(seed=1, device="cuda"),
        make_run(seed=0, name="full", hypergradient="exact_full"),
    ]
    groups = group_runs([read_record(run) for run in runs])
    assert [len(group.records) for group in groups] == [2, 1]
    assert [group.title for group in groups] == [
        "genseg · hypergradient=exact",
        "genseg · hypergradient=exact_full",
    ]


def test_recipes_are_told_by_their_names(make_run: MakeRun) -> None:
    strong = {"rotate": 180.0, "intensity": {"blur": {"probability": 0.2}}}
    runs = [
        make_run(recipe="paper"),
        make_run(name="strong", recipe="strong", augment=strong),
        make_run(name="own", recipe=None, augment={"rotate": 60.0}),
    ]
    first, second, third = (group.variant for group in group_runs([read_record(run) for run in runs]))
    assert (first, second) == ("augment=paper", "augment=strong")
    assert "augment.rotate=60.0" in third.split(", ")


def test_nothing_a_run_lacks_stops_the_report(make_run: MakeRun, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with Run.start(begun, {"seed": 0, "trainer": {"iterations": 300}}) as run:
        run.status("failed", step=7, message="out of memory")
    broken = make_run(name="broken")
    for name, content in {
        "results.json": "{", "status.json": "[]", "metrics.csv": "step,phase,name,value\nx,joint\n",
        "test-nlm_sz.csv": "id,dice\na,\n", "test-nlm_mc.csv": "", "samples/validation-000450.png": "no picture",
    }.items():  # fmt: skip
        (broken / name).write_text(content)
    odd = make_run(name="odd")
    (odd / "results.json").write_text(json.dumps({"test": {"nlm_sz": None, "x": 3}, "parameters": [], "seconds": "?"}))
    words = {run.name: Page(build_report([run], tmp_path / "one.html")).words for run in (begun, broken, odd)}
    assert "failed at step 7 (300 iterations asked for), out of memory" in words["begun"]
    assert "No test scores yet." in words["begun"]
    assert "No metrics yet." in words["begun"]
    assert "results.json cannot be read" in words["broken"]
    assert "metrics.csv cannot be read" in words["broken"]
    assert "status.json cannot be read" in words["broken"]
    assert "validation-000450.png cannot be read" in words["broken"]
    assert "nlm_sz: no cases" in words["broken"]
    page = Page(build_report([begun, broken, odd, make_run("vanilla")], tmp_path / "all.html"))
    assert "not finished: begun, broken" in page.words


def test_whatever_lies_in_outputs_a_page_comes_of_it(make_run: MakeRun, tmp_path: Path) -> None:
    """What is no Run is named, a damaged Run has a row that says so, and an unfinished one is nobody's reference."""
    begun, first, second = tmp_path / "a-begun", make_run("vanilla"), make_run()
    broken, alike, scoreless = (make_run(name=name) for name in ("headless", "headless-too", "scoreless"))
    cut, lost = (make_run(name=name) for name in ("cut", "lost"))
    (cut / "config.yaml").write_text((cut / "config.yaml").read_text()[:50])
    (lost / "config.yaml").unlink()
    with Run.start(begun, {**Run.open(first).config, "device": "cpu", "method": {"name": "flip"}}) as run:
        run.status("failed", step=7, message="out of memory")
    for run in (broken, alike):
        (run / "config.yaml").write_text("a: [")
    (scoreless / "results.json").write_text("{")
    (tmp_path / "notes.txt").touch()
    with pytest.warns(UserWarning, match="left out of the report") as told:
        out = build_report(sorted(tmp_path.glob("*")), tmp_path / "new" / "page.html")
    lines = [str(warning.message) for warning in told]
    assert f"left out of the report: there is no Run in {tmp_path / 'notes.txt'}" in lines
    told_of = ((broken, "cannot be read"), (scoreless, "results.json"), (cut, "it has no "), (lost, "it is gone"))
    for path, reason in told_of:
        assert [line for line in lines if str(path) in line and reason in line], path

    page = Page(out)
    table = page.words[: page.words.index("Comparisons")]
    for name in (broken.name, alike.name):
        assert re.search(rf" {name} broken: \S+/{name}/config\.yaml cannot be read", table)
    assert re.search(r" flip .* failed at step 7, out of memory", table)
    rows = rows_of(out.with_suffix(".csv"))
    found = {(row["run"], row["state"], row["method"]) for row in rows if not row["test_set"]}
    assert found == {
        ("a-begun", "failed", "flip"), ("headless", "broken", ""), ("headless-too", "broken", ""),
        ("scoreless", "finished", "genseg"), ("cut", "broken", ""), ("lost", "broken", ""),
    }  # fmt: skip
    assert {row["compared_with"] for row in rows if row["run"] == first.name} == {
        "genseg (9 of nlm_sz, unet_classic · pix2pix)"
    }
    assert second.name < scoreless.name < first.name  # the order of the shell


def test_broken_runs_alone_are_refused_with_the_reason(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (run / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"cannot be read[\s\S]*there is no Run in \S+elsewhere"):
        build_report([run, tmp_path / "elsewhere"], tmp_path / "page.html")


def test_skipped_steps_are_told_of_a_run_that_goes_on(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (run / "results.json").unlink()
    with Run.start(run, {**Run.open(run).config}, "restart") as going_on:
        going_on.status("running", step=30, skipped={"generator": 4, "segmenter": 0})
    assert "Not finite: 4 generator steps skipped." in Page(build_report([run], tmp_path / "page.html")).words


def test_a_running_run_of_another_container_is_not_called_killed(make_run: MakeRun) -> None:
    run = make_run()
    (run / "results.json").unlink()
    with Run.start(run, {**Run.open(run).config}, "restart"):
        status = json.loads((run / "status.json").read_text())
        (run / "status.json").write_text(json.dumps({**status, "pid": 2**22 + 1}))
        assert read_record(run).state == "running"
    assert read_record(run).state == "killed"


def test_a_killed_run_is_called_killed(make_run: MakeRun) -> None:
    run = make_run()
    (run / "results.json").unlink()
    status = json.loads((run / "status.json").read_text()) | {"state": "running"}
    (run / "status.json").write_text(json.dumps({**status, "pid": 2**22 + 1}))
    assert read_record(run).state == "killed"
    (run / "status.json").write_text(json.dumps({**status, "host": "elsewhere"}))
    assert read_record(run).state == "running"


def test_a_run_reporting_on_itself_before_its_last_status_is_finished(make_run: MakeRun) -> None:
    run = make_run()
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"state": "running"}))
    assert read_record(run).state == "finished"
    with Run.start(run, {**Run.open(run).config}, "restart"):
        assert read_record(run).state == "running"


def test_whatever_comes_in_goes_out_escaped(make_run: MakeRun, tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>&\""
    run = make_run(augment={evil: evil}, dataset={"name": evil, "title": evil})
    results = json.loads((run / "results.json").read_text())
    test = {evil: {"dice": 0.5, "cases": evil}}
    (run / "results.json").write_text(
        json.dumps(results | {"name": evil, "method": evil, "device": evil, "test": test, "versions": {evil: evil}})
    )
    (run / "test-nlm_sz.csv").write_text(f'id,dice\n"{evil.replace(chr(34), chr(34) * 2)}",0.5\n')
    with (run / "metrics.csv").open("a") as file:
        file.write("451,joint,<script>,1.0\n451,architecture,up.9.<b>,1.0\n")
    for runs in ([run], [run, make_run("vanilla")]):
        page = Page(build_report(runs, tmp_path / "page.html"))
        assert evil in page.words
        assert "script" not in {tag for tag, _ in page.tags}


HUGE = "9" * 400
FOREIGN = {
    "results.json": [
        "[]", '{"seed": {"a": []}}', '{"name": "\\ud800"}', "[" * 100_000, f'{{"seconds": {HUGE}}}',
        '{"test": {"nlm_sz": {"dice": 1e308, "cases": {}}}}', '{"parameters": 3, "versions": [], "skipped": "x"}',
        '{"test": [1], "architecture": {"kept": [{}, 1]}, "n_labelled": [1]}', f'{{"iterations": {HUGE}}}',
    ],
    "status.json": [
        "3", '{"state": {"a": 1}}', '{"state": "running", "host": "HOST", "pid": 1e400}', "",
        f'{{"state": "running", "host": "HOST", "pid": {HUGE}}}', '{"state": "running", "host": "HOST", "pid": -1}',
    ],
    "metrics.csv": [
        "step,phase,name,value\n" + "9" * 400 + ",joint,a,1\n", "step,phase,name,value\n1,joint\n", "x\n1\n",
        "step,phase,name,value\n1,joint,a,1e308\n2,joint,a,-1e308\n",
        f"step,phase,name,value\n1,architecture,up.{HUGE * 12}.x,1\n", 'step,phase,name,value\n"' + "x" * 2**18,
        "step,phase,name,value\n1,validation,dice,1e300\n2,system,seconds,1e308\n",
        "step,phase,name,value\n-5,joint,a,1\n",
    ],
    "test-nlm_sz.csv": [
        "id,dice\n\x00,1\n", "id,dice\na,1e308\nb,-1e308\n", "dice,dice_\n1\n", "\n\n", "id,dice\n" + "x" * 2**18,
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in FOREIGN.items() for text in texts])
def test_whatever_a_strangers_files_hold_a_page_comes_of_it(
    name: str, content: str, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    (run / name).write_text(content.replace("HOST", platform.node()))
    for runs in ([run], [run, make_run("vanilla")]):
        assert "nlm_sz" in Page(build_report(runs, tmp_path / "page.html")).words


@pytest.mark.parametrize("name", [*FOREIGN, "samples/validation-000450.png"])
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_a_file_without_end_is_said_on_the_page(name: str, kind: str, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    file = run / name
    file.unlink()
    {"device": lambda: file.symlink_to("/dev/zero"), "pipe": lambda: os.mkfifo(file), "folder": file.mkdir}[kind]()
    assert f"{file.name} cannot be read" in Page(build_report([run], tmp_path / "page.html")).words


@pytest.mark.parametrize("linked", ["samples/validation-000450.png", "samples"])
def test_a_picture_from_outside_the_run_is_not_shown(linked: str, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    file = run / "samples" / "validation-000450.png"
    private = (run / linked).rename(tmp_path / "private")
    (run / linked).symlink_to(private)
    page = Page(build_report([run], tmp_path / "page.html"))
    assert f"{file.name} cannot be read" in page.words
    assert "img" not in {tag for tag, _ in page.tags}


def test_marks_of_direction_are_shown_as_codes(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(dataset={"name": "x", "title": "safe\u202egnp.exe\x1b[2J"})
    page = (build_report([run], tmp_path / "page.html")).read_text()
    assert r"safe\u202egnp.exe\x1b[2J" in page
    assert not set("\u202e\x1b") & set(page)


@pytest.mark.parametrize(("one", "two"), [("scar", "ulcer"), ("1", "2")], ids=["by name", "of an earlier Run"])
def test_several_classes_are_listed(make_run: MakeRun, tmp_path: Path, one: str, two: str) -> None:
    run = make_run()
    (run / "test-nlm_sz.csv").write_text(
        f"id,dice,jaccard,dice_{one},dice_{two},jaccard_{one},jaccard_{two},hd95_{one},surface_dice_{one}\n"
        "a,0.5,0.4,0.25,0.75,0.1,0.7,,0.9\nb,0.5,0.4,0.35,0.65,0.3,0.5,2.0,0.9\n"
    )
    words = re.sub(r"\s+", " ", Page(build_report([run], tmp_path / "page.html")).words)
    assert f"class Dice Jaccard {one} 0.300 0.200 {two} 0.700 0.600" in words


def test_what_cannot_be_reported_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    with pytest.raises(UserError, match="at least one"):
        build_report([], tmp_path / "page.html")
    with pytest.raises(UserError, match=r"config\.yaml"):
        build_report([tmp_path], tmp_path / "page.html")
    with pytest.raises(UserError, match="overwritten"):
        build_report([run], tmp_path / "page.csv")
    with pytest.raises(UserError, match="cannot be written"):
        build_report([run], run / "config.yaml" / "page.html")


@pytest.mark.parametrize("name", ["page.html", "page.csv", "page-cases.csv"])
def test_no_file_of_others_is_replaced(name: str, make_run: MakeRun, tmp_path: Path) -> None:
    run, other = make_run(), make_run("vanilla")
    (tmp_path / name).write_text("id,dice\na,0.5\n")
    with pytest.raises(UserError, match=f"{name} is there already and is no report: move it away"):
        build_report([run, other], tmp_path / "page.html")
    with pytest.raises(UserError, match=r"metrics\.csv is there already"):
        build_report([run], run / "metrics.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["genseg-s0", name, "vanilla-s0"]
    (tmp_path / name).write_text("")
    for _ in range(2):
        build_report([run, other], tmp_path / "page.html")


def test_what_the_files_of_a_run_say_against_each_other_is_told(make_run: MakeRun) -> None:
    run = make_run()
    written = Run.open(run)
    written.write_json("splits.json", {"data_sha256": "of another"})
    written.write_json("results.json", {"data_sha256": "of this"})
    assert read_record(run).faults[0].startswith("results.json and splits.json are of two trainings")
    written.write_json("results.json", ["of this"])
    assert "it holds a list, expected a mapping" in read_record(run).faults[0]
    (run / "results.json").unlink()
    (run / SUMS).unlink()
    assert read_record(run).faults[0].startswith("results.json is gone: give the training's command again")


def test_the_last_samples_are_those_of_the_latest_step(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for name in ("step-000900", "step-001000", "validation-1000", "masks"):
        (tmp_path / "samples" / f"{name}.png").touch()
    assert [path.stem for path in find_last_samples(tmp_path)] == ["step-001000", "validation-1000"]
    assert find_last_samples(tmp_path / "none") == []


def test_long_series_are_averaged_and_keep_their_extremes() -> None:
    points = [(float(step), float(step % 10)) for step in range(5000)]
    thinned = thin_points(points)
    assert len(thinned) <= 150
    assert min(low for _, _, low, _ in thinned) == 0
    assert max(high for *_, high in thinned) == 9
    assert abs(statistics.fmean(mean for _, mean, _, _ in thinned) - 4.5) < 0.05
    assert thin_points([]) == []
    assert thin_points([(1.0, 2.0)]) == [(1.0, 2.0, 2.0, 2.0)]


@pytest.mark.parametrize("points", [[(5.0, 0.3)], [(0.0, 0.0), (10.0, 0.0)], [(0.0, 1e-9), (10.0, 1e9)]])
def test_charts_of_odd_series_are_drawn(points: list[tuple[float, float]]) -> None:
    for log in (False, True):
        chart = draw_line_chart("title", [MetricSeries("a", points)], log=log)
        assert "nan" not in chart
        assert "inf" not in chart
    assert "no values" in draw_line_chart("title", [])


@pytest.mark.parametrize("values", [[1.0], [0.0, 1.0], [0.95, 0.99], [0.6] * 3])
def test_histogram_holds_every_case(values: list[float]) -> None:
    chart = draw_histogram("title", values)
    heights = [float(found) for found in re.findall(r'class="bar".*?height="([\d.]+)"', chart)]
    assert sum(height > 0 for height in heights) == len(set(values)) or values == [0.95, 0.99]
    assert all(height >= 0 for height in heights)


def test_a_report_imports_no_model_code() -> None:
    allowed = {"config", "errors", "faults", "files", "lock", "reporting", "run", "statistics", "terminal"}
    for file in Path(reporting.__file__).parent.glob("*.py"):
        assert set(re.findall(r"import genseg_betty\.(\w+)|from genseg_betty\.(\w+)", file.read_text())) <= {
            ("", name) for name in allowed
        }
