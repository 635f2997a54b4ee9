"""The paper's comparison as a workspace of Weights & Biases, made of the Runs of a project.

python experiments/dashboard.py --entity NAME --dataset nlm_sz --ood nlm_mc              saved; needs `wandb login`
python experiments/dashboard.py --entity NAME --dataset nlm_sz --ood nlm_mc --list       printed, and nothing is sent

Runs are trained with logger=wandb, and brought to the server by `wandb sync` where they were offline. What each panel
is made of stands in docs/tracking.md. Needs `pip install 'genseg-betty[dashboard]'`.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from genseg_betty.run.names import DICE, JACCARD, VALIDATION_PHASE
from genseg_betty.tracking import ALPHA

METHOD = wr.Config("method.name")
N_LABELLED = "n_labelled"
PICTURES = ("synthetic", "validation")
PANELS_A_ROW = 2


def main() -> None:
    options = read_options()
    workspace = build_dashboard(
        options.entity, options.project, options.dataset, options.ood, options.metric, options.group
    )
    if options.list:
        for section in workspace.sections:
            print(section.name, *find_titles(section), sep="\n  ")
        return
    workspace.save()
    print(workspace.url)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="the account or team that the project is of")
    parser.add_argument("--project", default="genseg", help="logger.project of the Runs")
    parser.add_argument("--dataset", required=True, help="what the Runs are trained on")
    parser.add_argument("--ood", nargs="*", default=[], metavar="DATASET", help="what else they are tested on")
    parser.add_argument(
        "--metric", choices=(DICE, JACCARD), default=DICE, help="the score that the dataset is judged by"
    )
    parser.add_argument("--group", help="only the Runs of this sweep")
    parser.add_argument("--list", action="store_true", help="print the panels, and save nothing")
    return parser.parse_args()


def build_dashboard(
    entity: str, project: str, dataset: str, ood: Sequence[str], metric: str = DICE, group: str | None = None
) -> ws.Workspace:
    """The workspace, which is saved by its `save`.

    Args:
        dataset: what the Runs are trained on; others are left out.
        ood: datasets that they are tested on as well.
        metric: dice or jaccard.
        group: only the Runs of this sweep.
    """
    filters = f"Config('dataset.name') = '{dataset}'"
    if group is not None:
        filters += f" and Metric('Group') = '{group}'"
    by_method = [panel for name in [dataset, *ood] for panel in compare_methods(name, metric)]
    sections = {
        "Score by method": by_method[:PANELS_A_ROW],
        "Sample size": [draw_sample_sizes(name, metric) for name in [dataset, *ood]],
        "Out of domain": [*by_method[PANELS_A_ROW:], *[compare_domains(dataset, name, metric) for name in ood]],
        "Training": draw_training(metric),
        "α": [wr.MediaBrowser(title="α over the steps", media_keys=[ALPHA], num_columns=PANELS_A_ROW)],
        "Galleries": draw_galleries([dataset, *ood]),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"GenSeg: {dataset}",
        sections=[make_section(name, panels) for name, panels in sections.items() if panels],
        runset_settings=ws.RunsetSettings(filters=filters),
    )


def make_section(name: str, panels: list[Any]) -> ws.Section:
    layout = ws.SectionLayoutSettings(columns=PANELS_A_ROW, rows=-(-len(panels) // PANELS_A_ROW))
    return ws.Section(name=name, panels=panels, is_open=True, layout_settings=layout)


def name_score(test_set: str, metric: str) -> str:
    """What a Run calls its score there."""
    return f"test/{test_set}/{metric}"


def compare_methods(test_set: str, metric: str) -> list[Any]:
    """A point for each seed, and beside it mean and standard deviation over the seeds."""
    score = name_score(test_set, metric)
    points = wr.ScatterPlot(
        title=f"{test_set}: {metric} by method, a point a seed",
        x=METHOD,
        y=wr.SummaryMetric(score),
        legend_template="${runName}",
    )
    bars = wr.BarPlot(
        title=f"{test_set}: {metric} by method, mean ± standard deviation over seeds",
        metrics=[wr.SummaryMetric(score)],
        groupby=METHOD,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )
    return [points, bars]


def draw_sample_sizes(test_set: str, metric: str) -> Any:
    """A line for each method over the number of labelled images, mean and standard deviation over the seeds."""
    return wr.LinePlot(
        title=f"{test_set}: {metric} by labelled images",
        x=wr.Metric(N_LABELLED),
        y=[wr.Metric(name_score(test_set, metric))],
        title_x="labelled images",
        log_x=True,
        aggregate=True,
        groupby=METHOD,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )


def compare_domains(dataset: str, other: str, metric: str) -> Any:
    """A point for each Run: its score where it was trained, and where it was not."""
    return wr.ScatterPlot(
        title=f"{metric} on {other} over {metric} on {dataset}",
        x=wr.SummaryMetric(name_score(dataset, metric)),
        y=wr.SummaryMetric(name_score(other, metric)),
        legend_template="${runName}",
    )


def draw_training(metric: str) -> list[Any]:
    """The validation over the steps, and the losses of each Run."""
    validation = wr.LinePlot(
        title=f"validation {metric} by method",
        y=[wr.Metric(f"{VALIDATION_PHASE}/{metric}")],
        aggregate=True,
        groupby=METHOD,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )
    losses = wr.LinePlot(title="losses", metric_regex="^(warmup|joint|segmentation)/")
    return [validation, losses]


def draw_galleries(test_sets: Sequence[str]) -> list[Any]:
    """What was drawn and predicted on the way, and the cases of each test set with their scores."""
    galleries = []
    for name in PICTURES:
        galleries.append(wr.MediaBrowser(title=f"{name} pictures", media_keys=[name], num_columns=1))
    return galleries + [wr.WeavePanelSummaryTable(table_name=f"cases/{name}") for name in test_sets]


def find_titles(section: Any) -> list[str]:
    """The titles of a section's panels; of a table its name."""
    titles = []
    for panel in section.panels:
        is_table = isinstance(panel, wr.WeavePanelSummaryTable)
        titles.append(panel.table_name if is_table else panel.title)
    return titles


if __name__ == "__main__":
    main()
