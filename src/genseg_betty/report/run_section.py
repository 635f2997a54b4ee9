"""Everything about one Run: pictures, cases, curves, architecture, and how it was made."""

import re
import statistics
from typing import Any

from omegaconf import OmegaConf

from genseg_betty.report.figures import Series, histogram, line_chart
from genseg_betty.report.markup import duration, figure, key, listing, picture, score, size, table, text
from genseg_betty.report.record import NOT_LOSSES, Record, flatten, mapping, number

LOSS_TITLES = {
    "generator": "Generator loss (stage I)",
    "discriminator": "Discriminator loss (stage I)",
    "segmenter": "Segmentation loss (stage II)",
    "architecture": "Validation loss of the architecture (stage III)",
}
WORST = 5
MAX_PICTURES = 4


def run_section(record: Record, heading: str = "h2") -> str:
    """The parts of one Run that there is something for, each under a heading."""
    parts = {
        "Pictures": _pictures(record),
        "Cases": _cases(record),
        "Training": _curves(record),
        "Architecture": _architecture(record),
        "How it was made": _facts(record),
    }
    sections = [f"<{heading}>{title}</{heading}>{part}" for title, part in parts.items() if part]
    return "".join(sections)


def notices(record: Record) -> str:
    """What is missing in a Run and why."""
    lines = list(record.faults)
    if record.state != "finished":
        asked = mapping(record.config.get("trainer")).get("iterations")
        message = record.status.get("message")
        lines.insert(
            0,
            f"This Run is not finished: {record.state} at step {record.status.get('step', '?')} "
            f"({asked} iterations asked for){f', {message}' if message else ''}.",
        )
    lines += [f"Not finite: {count} {name}." for name, count in record.nonfinite().items()]
    return "".join(f'<p class="notice">{text(line)}</p>' for line in lines)


def _pictures(record: Record) -> str:
    """The sample pictures of the last step."""
    if not record.samples:
        return '<p class="missing">No sample pictures yet.</p>'
    shown = "".join(picture(path, path.stem.replace("-", " ")) for path in record.samples[:MAX_PICTURES])
    return f'<div class="gallery">{shown}</div>'


def _cases(record: Record) -> str:
    parts = []
    for name in sorted(record.cases, key=lambda name: name != record.dataset):
        rows = [row for row in record.cases[name] if row.get("dice") is not None]
        if not rows:
            parts.append(f'<p class="missing">{text(name)}: no cases</p>')
            continue
        worst = sorted(rows, key=lambda row: row["dice"])[:WORST]
        cells = [(row.get("id"), score(row["dice"]), score(row.get("jaccard"))) for row in worst]
        chart = figure(f"{name}: cases by Dice, {len(rows)} in all", histogram(name, [row["dice"] for row in rows]))
        parts.append(
            f'<div class="split">{chart}<div>{table(("worst cases", "Dice", "Jaccard"), cells)}</div></div>'
            + _classes(rows)
        )
    return "".join(parts)


def _classes(rows: list[dict[str, Any]]) -> str:
    """Means of the columns of single classes (dice_1, jaccard_1, …), where there are any."""
    numbers = [name.removeprefix("dice_") for name in rows[0] if name.startswith("dice_")]
    cells = []
    for label in numbers:
        columns = ([row.get(f"{name}_{label}") for row in rows] for name in ("dice", "jaccard"))
        means = (
            statistics.fmean(found) if (found := [v for v in column if v is not None]) else None for column in columns
        )
        cells.append((label, *(score(mean) for mean in means)))
    return table(("class", "Dice", "Jaccard"), cells) if cells else ""


def _curves(record: Record) -> str:
    if not record.metrics:
        return '<p class="missing">No metrics yet.</p>'
    x_range = (0.0, float(max(row["step"] for row in record.metrics)))
    phases = dict.fromkeys(row["phase"] for row in record.metrics if row["phase"] not in NOT_LOSSES)
    names = dict.fromkeys(name for phase in phases for name in record.names(phase))
    warmup = [row["step"] for row in record.metrics if row["phase"] == "warmup"]
    boundary = float(max(warmup)) if warmup and len(phases) > 1 else None
    charts = [_validation(record, x_range)]
    for name in names:
        points = [point for phase in phases for point in record.series(phase, name)]
        title = LOSS_TITLES.get(name, name)
        if not record.has_generator:
            title = title.partition(" (stage")[0]  # a method without a generator has no stages
        charts.append(figure(title, line_chart(title, [Series(name, points)], None, x_range, boundary=boundary)))
    loss = record.series("validation", "loss")
    if loss:
        charts.append(figure("Validation loss", line_chart("Validation loss", [Series("loss", loss)], None, x_range)))
    norm = record.series("architecture", "gradient_norm")
    if norm and record.has_hypergradient:
        title = "Norm of the hypergradient"
        charts.append(figure(title, line_chart(title, [Series(title, norm)], None, x_range, log=True)))
    dashed = '<p class="note">Steps from left to right; the dashed line ends the warm-up.</p>' if boundary else ""
    return f'<div class="charts">{"".join(charts)}</div>{dashed}'


def _validation(record: Record, x_range: tuple[float, float]) -> str:
    """Dice and Jaccard on the validation images, the best of the Run's own metric ringed."""
    names = [name for name in ("dice", "jaccard") if record.series("validation", name)]
    if record.results.get("metric") == "jaccard" or mapping(record.config.get("dataset")).get("metric") == "jaccard":
        names.reverse()
    series = [Series(name, record.series("validation", name), index) for index, name in enumerate(names)]
    best = max(series[0].points, key=lambda point: point[1]) if series else None
    low = min((y for one in series for _, y in one.points), default=0.0)
    chart = line_chart("Validation score", series, (min(0.9, low), 1.0), x_range, mark=best)
    caption = "Validation score" if best is None else f"Validation score, best {best[1]:.3f} at step {best[0]:g}"
    return figure(caption, chart + (key([name.title() for name in names]) if names else ""))


def _architecture(record: Record) -> str:
    """α of every searched cell over time, and the operations that were kept; nothing where no α is learned."""
    if not record.has_hypergradient:
        return ""
    cells: dict[str, list[str]] = {}
    for name in record.names("architecture"):
        if re.fullmatch(r"(down|up)\.\d{1,3}\.\w+", name):
            cells.setdefault(name.rpartition(".")[0], []).append(name)
    if not cells:
        return ""
    operations = list(dict.fromkeys(_operation(name) for names in cells.values() for name in names))
    x_range = (0.0, float(max(row["step"] for row in record.metrics)))
    charts = []
    for cell, names in cells.items():
        series = [
            Series(_operation(name), record.series("architecture", name), operations.index(_operation(name)))
            for name in names
        ]
        half, _, index = cell.partition(".")
        title = f"{'Encoder' if half == 'down' else 'Decoder'} cell {int(index) + 1}"
        charts.append(figure(title, line_chart(title, series, (0.0, 1.0), x_range, coarse=True)))
    note = "α of each operation over the steps; an operation is kernel / stride / padding."
    kept = mapping(record.results.get("architecture")).get("kept")
    strongest = [str(name) for name in kept] if isinstance(kept, list) else []
    halves = {
        "kept in the encoder": ", ".join(_operation(name) for name in strongest if name.startswith("conv")),
        "kept in the decoder": ", ".join(_operation(name) for name in strongest if name.startswith("upconv")),
    }
    chosen = listing({half: operations for half, operations in halves.items() if operations})
    legend = f'<p class="note">{note}</p>{key(operations)}'
    return f'{chosen}{legend}<div class="charts cells">{"".join(charts)}</div>'


def _operation(name: str) -> str:
    """`up.3.upconv_823` -> `8 / 2 / 3`; other names stay."""
    found = re.search(r"_(\d)(\d)(\d)$", name)
    return " / ".join(found.groups()) if found else name.rpartition(".")[2]


def _facts(record: Record) -> str:
    results, config = record.results, record.used_config
    seconds = number(results.get("seconds")) or _latest(record, "seconds")
    each = number(results.get("seconds_per_iteration")) or _latest(record, "seconds_per_step")
    memory = number(results.get("peak_memory_bytes")) or _latest(record, "memory_bytes")
    made = {
        "time": f"{duration(seconds)} in all, {duration(each)} a step",
        "peak memory": size(memory),
        "device": results.get("device") or config.get("device"),
        **mapping(results.get("networks")),
        "made smaller": results.get("reduced"),
        **{
            f"{name} parameters": f"{int(count):,}"
            for name, value in mapping(results.get("parameters")).items()
            if (count := number(value))
        },
        "versions": ", ".join(f"{k} {v}" for k, v in mapping(results.get("versions")).items() if v) or None,
        "training data": f"sha256 {str(results['data_sha256'])[:16]}…" if results.get("data_sha256") else None,
        "finished": results.get("finished"),
        "directory": record.path,
    }
    groups = {name: _settings(config[name]) for name in config if isinstance(config[name], dict) and name in SHOWN}
    single = {
        name: config.get(name) for name in ("image_size", "hypergradient", "precondition", "arch_every", "precision")
    }
    dump = OmegaConf.to_yaml(config)
    return (
        f'<div class="split">{listing({**single, **groups})}{listing(made)}</div>'
        f"<details><summary>Config: all keys that have a part in this Run</summary><pre>{text(dump)}</pre></details>"
    )


SHOWN = ("backbone", "generator", "method", "augment", "trainer")


def _settings(group: dict[str, Any]) -> str:
    """One line of a config group: its name, then its keys that are set."""
    words = [str(group["name"])] if group.get("name") else []
    for name, value in flatten(group).items():
        if name not in ("name", "_target_") and value is not None:
            words.append(f"{name}={value}")
    return " ".join(words)


def _latest(record: Record, name: str) -> float | None:
    points = record.series("system", name)
    return points[-1][1] if points else None
