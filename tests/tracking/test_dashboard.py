"""The dashboard as an object: its panels by name, what each is made of, and that W&B's own model takes it."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("wandb_workspaces", reason="needs the extra dashboard: pip install 'genseg-betty[dashboard]'")


@pytest.fixture(scope="module")
def dashboard() -> ModuleType:
    path = Path(__file__).parents[2] / "experiments" / "dashboard.py"
    spec = importlib.util.spec_from_file_location("dashboard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def workspace(dashboard: ModuleType) -> Any:
    return dashboard.build_dashboard("us", "genseg", "nlm_sz", ["nlm_mc"], "dice", "sizes")


def test_it_has_the_panels_of_the_paper(dashboard: ModuleType, workspace: Any) -> None:
    titles = {section.name: dashboard.find_titles(section) for section in workspace.sections}
    assert titles == {
        "Score by method": [
            "nlm_sz: dice by method, a point a seed",
            "nlm_sz: dice by method, mean ± standard deviation over seeds",
        ],
        "Sample size": ["nlm_sz: dice by labelled images", "nlm_mc: dice by labelled images"],
        "Out of domain": [
            "nlm_mc: dice by method, a point a seed",
            "nlm_mc: dice by method, mean ± standard deviation over seeds",
            "dice on nlm_mc over dice on nlm_sz",
        ],
        "Training": ["validation dice by method", "losses"],
        "α": ["α over the steps"],
        "Galleries": ["synthetic pictures", "validation pictures", "cases/nlm_sz", "cases/nlm_mc"],
    }


def test_its_panels_name_what_a_run_logs(workspace: Any) -> None:
    """In W&B's own words, as they would be sent; the names are those that tests/tracking/test_wandb.py reads back."""
    sent = workspace._to_model().spec.model_dump_json(by_alias=True)
    panels = json.loads(sent)["section"]["panelBankConfig"]["sections"]
    configs = {panel["config"].get("chartTitle"): panel["config"] for part in panels for panel in part["panels"]}
    points = configs["nlm_sz: dice by method, a point a seed"]
    assert (points["xAxis"], points["yAxis"]) == ("config:method.value.name", "summary:test/nlm_sz/dice")
    bars = configs["nlm_sz: dice by method, mean ± standard deviation over seeds"]
    assert (bars["metrics"], bars["groupBy"]) == (["summary_metrics.test/nlm_sz/dice"], "method.value.name")
    assert (bars["groupAgg"], bars["groupArea"]) == ("mean", "stddev")
    sizes = configs["nlm_mc: dice by labelled images"]
    assert (sizes["xAxis"], sizes["metrics"], sizes["groupBy"]) == (
        "n_labelled", ["test/nlm_mc/dice"], "method.value.name",
    )  # fmt: skip
    domains = configs["dice on nlm_mc over dice on nlm_sz"]
    assert (domains["xAxis"], domains["yAxis"]) == ("summary:test/nlm_sz/dice", "summary:test/nlm_mc/dice")
    assert configs["α over the steps"]["mediaKeys"] == ["alpha"]
    assert set(re.findall(r'"(nlm_sz|sizes)"', sent)) == {"nlm_sz", "sizes"}  # the filters
