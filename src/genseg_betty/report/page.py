"""The report page: scores first, then pictures, then all that is behind them. Nothing is loaded from afar."""

import math
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files

from genseg_betty.report.markup import figure, picture, score, text
from genseg_betty.report.record import NONE, SCORES, Record, mapping, number
from genseg_betty.report.run_section import notices, run_section
from genseg_betty.report.tables import Group, best_groups, compared_with, group_runs, paired, test_sets

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MAX_GALLERY = 12
TABLE_NOTE = (
    "Mean ± standard deviation over seeds; ★ the highest mean on as many images of the same dataset. "
    "Below it the difference to the first method listed of the same dataset, number of images and backbone, "
    "and p of a two-sided paired t-test over the seeds that both have, not corrected for the number of tests."
)


def render(records: Sequence[Record]) -> str:
    """The whole page for one Run or several."""
    title = records[0].name if len(records) == 1 else f"{len(records)} Runs"
    body = _single(records[0]) if len(records) == 1 else _several(records)
    style = files("genseg_betty.report").joinpath("page.css").read_text(encoding="utf-8")
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)} · GenSeg report</title><style>{style}</style></head>\n"
        f'<body>{body}<p class="note">GenSeg report, written {written}.</p></body></html>\n'
    )


def _single(record: Record) -> str:
    cards = "".join(_card(record, name) for name in record.test)
    none = "No test scores." if record.state == "finished" else "No test scores yet."
    cards = f'<div class="cards">{cards}</div>' if cards else f'<p class="missing">{none}</p>'
    return f"<h1>{text(record.name)}</h1>{_lead(record)}{notices(record)}{cards}{run_section(record)}"


def _lead(record: Record) -> str:
    """One sentence: what was trained on what."""
    results, dataset = record.results, mapping(record.config.get("dataset"))
    networks = [str(name) for name in mapping(results.get("networks")).values()]
    network = " and ".join(networks or [name for name in (record.backbone, record.generator) if name != NONE])
    if results.get("reduced"):
        network += f" (trainer={results.get('trainer')}: smaller than usual)"
    images = f"{record.n_labelled if record.n_labelled is not None else 'an unknown number of'} labelled images"
    if results.get("n_train"):
        images += f" ({results['n_train']} to train, {results.get('n_validation')} to validate"
        images += f"; {results['n_unused']} others unused)" if results.get("n_unused") else ")"
    title = dataset.get("title") or record.dataset
    line = f"{record.method}, {network}, on {images} of {title}, seed {record.seed}"
    return f'<p class="lead">{text(line)}</p>'


def _card(record: Record, name: str) -> str:
    found = record.test[name]
    domain = "" if name == record.dataset else ", out of domain"
    dice = score(number(found.get("dice")))
    return (
        f'<section class="card"><h3>{text(name)}</h3><div class="value">{dice}</div>'
        f"<p>Dice, mean of {text(found.get('cases'))} cases{domain}</p>"
        f"<p>Jaccard {score(number(found.get('jaccard')))}</p></section>"
    )


def _several(records: Sequence[Record]) -> str:
    groups = group_runs(records)
    unfinished = [record for record in records if record.state != "finished"]
    datasets = ", ".join(dict.fromkeys(record.dataset for record in records))
    lead = f"{len(groups)} methods over {len(records)} Runs on {datasets}"
    warning = f"{len(unfinished)} of them not finished: {', '.join(record.name for record in unfinished)}"
    details = "".join(_details(record) for record in records)
    return (
        f'<h1>Comparison of {len(records)} Runs</h1><p class="lead">{text(lead)}</p>'
        + (f'<p class="notice">{text(warning)}</p>' if unfinished else "")
        + f"<h2>Scores</h2>{headline(groups, records)}{_dots(groups, records)}"
        + f"<h2>Pictures</h2>{_gallery(groups)}<h2>Each Run</h2>{details}"
    )


def headline(groups: Sequence[Group], records: Sequence[Record]) -> str:
    """The table of test scores, one row a method."""
    sets = test_sets(records)
    if not sets:
        return '<p class="missing">No test scores yet.</p>'
    trained_on = {record.dataset for record in records}
    heads = "".join(
        f'<th class="set" colspan="2">{text(name)}'
        f"<small>{'trained on' if name in trained_on else 'out of domain'}</small></th>"
        for name in sets
    )
    names = "".join(f'<th class="score">{name.title()}</th>' for _ in sets for name in SCORES)
    best = {(name, kind): best_groups(groups, name, kind) for name in sets for kind in SCORES}
    rows = ""
    for group in groups:
        cells = "".join(
            _score_cell(group, groups, name, kind, group in best[name, kind]) for name in sets for kind in SCORES
        )
        rows += f'<tr><th scope="row">{text(group.label)}<small>{text(_row_note(group))}</small></th>{cells}</tr>'
    return (
        f'<div class="scroll"><table><thead><tr><th rowspan="2">method</th>{heads}</tr>'
        f'<tr>{names}</tr></thead><tbody>{rows}</tbody></table></div><p class="note">{TABLE_NOTE}</p>'
    )


def _row_note(group: Group) -> str:
    dataset, n_labelled, _, backbone, generator = group.kind
    networks = backbone if generator == NONE else f"{backbone} · {generator}"
    seeds = ", ".join(str(record.seed) for record in group.records)
    return f"{networks} · {n_labelled} of {dataset} · seed{'s' if len(group.records) > 1 else ''} {seeds}"


def _score_cell(group: Group, groups: Sequence[Group], name: str, kind: str, best: bool) -> str:
    found = group.summary(name, kind)
    if found is None:
        return f'<td class="score">{NONE}</td>'
    spread = "" if found.sd is None else f" ± {found.sd:.3f}"
    reference = compared_with(group, groups)
    test = paired(group, reference, name, kind) if reference else None
    p = ""
    if test is not None and test.p is not None:
        value = "p &lt; 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
        difference = f"{test.difference:+.3f}".replace("-", "−")
        p = f"<small>{difference}, {value}</small>"
    star = " ★" if best else ""
    return f'<td class="score{" best" if best else ""}">{found.mean:.3f}{spread}{star}{p}</td>'


def _dots(groups: Sequence[Group], records: Sequence[Record]) -> str:
    """For each test set, every seed's Dice as a dot and the mean as a bar, methods below each other."""
    figures = ""
    for name in test_sets(records):
        values = {id(group): list(group.scores(name, "dice").values()) for group in groups}
        every = [value for found in values.values() for value in found] or [0.0, 1.0]
        low = math.floor(min(every) * 20 - 0.2) / 20
        high = math.ceil(max(every) * 20 + 0.2) / 20
        rows = ""
        for group in groups:
            marks = _draw_marks(values[id(group)], low, high)
            rows += f'<span class="label">{text(group.label)}</span><span class="track">{marks}</span>'
        scale = f'<span></span><span class="scale"><span>{low:g}</span><span>{high:g}</span></span>'
        figures += figure(f"{name}: Dice of each seed, and the mean", f'<div class="dots">{rows}{scale}</div>')
    return f'<div class="split">{figures}</div>'


def _draw_marks(scores: Sequence[float], low: float, high: float) -> str:
    """A dot for each score and a bar for their mean, on a track from `low` to `high`."""
    marks = ""
    for score_of_seed in scores:
        marks += f'<i style="left:{(score_of_seed - low) / (high - low):.2%}"></i>'
    if scores:
        mean = statistics.fmean(scores)
        marks += f'<b style="left:{(mean - low) / (high - low):.2%}"></b>'
    return marks


def _gallery(groups: Sequence[Group]) -> str:
    """The pictures of the first Run of each method that has any."""
    shown = ""
    for group in groups[:MAX_GALLERY]:
        record = next((record for record in group.records if record.samples), None)
        if record is not None:
            shown += picture(record.samples[0], f"{group.label}, seed {record.seed}")
    return f'<div class="gallery">{shown}</div>' if shown else '<p class="missing">No sample pictures yet.</p>'


def _details(record: Record) -> str:
    dice = {name: score(number(found.get("dice"))) for name, found in record.test.items()}
    scores = ", ".join(f"{name} {value}" for name, value in dice.items())
    return (
        f"<details><summary>{text(record.name)}<small>{text(scores or record.state)}</small></summary>"
        f"{_lead(record)}{notices(record)}{run_section(record, 'h3')}</details>"
    )
