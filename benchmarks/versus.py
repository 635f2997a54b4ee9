"""Time, memory and exactness of a joint iteration (H, G, S and A each step once): beside others' code, among our own.

    python benchmarks/versus.py                                our variants, narrow networks at 128 x 128
    python benchmarks/versus.py --reference DIR --betty DIR    the code of GenSeg's authors and ours, 256 x 256

Without `--reference`: how the cells are computed, which hypergradient (Betty's own among them), how often. With it,
DIR is a checkout of importZL/GenSeg, and ours are measured as it is: grey images, batches of two, the decoder searched,
64 base channels. It asks for betty-ml 0.2.0: `uv pip install --no-deps --target DIR betty-ml==0.2.0` makes the folder
that `--betty` names. How it is run, and what is put in place of what: versus_reference.py.

The variants take turns, `--rounds` times, each in a process of its own: what else the machine does falls on all of
them, and the peak memory is that of one. Not counted: of ours the first two iterations (A rests in the very first) or
the first `arch_every`, of theirs the first. The table gives the median of the rounds, [the least to the most], and the
ratio to the first row.

What a variant's speed costs is told by the gradient of A beside that of `exact`, at the same weights, batch and random
numbers, in float32. It is that of step 4, and until then all go the same way and A rests: the first update of Adam does
not depend on the size of a gradient, so that hardly anything is there to differentiate. `exact_full` and what leaves
Adam's update out differ from `exact` by a factor as well, which A's own Adam takes out: there the cosine counts.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from genseg_betty.build import count_parameters
from genseg_betty.device import peak_memory
from genseg_betty.generators.cells import SearchableCell
from genseg_betty.multilevel.engine import PhasedEngine
from workload import (
    Clock,
    Row,
    add_size,
    build_engine,
    forked,
    gradient_of_architecture,
    in_a_process_of_its_own,
    machine,
    markdown,
    warm_imports,
    write_result,
)

RUNNER = Path(__file__).with_name("versus_reference.py")
GRADIENT_AT = 4  # the step whose gradient of A is compared
COLUMNS = {"seconds": "seconds", "cpu_seconds": "CPU-seconds", "peak_gib": "peak GiB"}


@dataclass(frozen=True)
class Variant:
    """One way to make joint iterations."""

    name: str
    computes: str  # the gradient of A, in words
    options: dict[str, Any] = field(default_factory=dict)  # what `build_engine` reads otherwise than by default
    change: Callable[[Any, PhasedEngine], None] | None = None  # of networks and levels that are built
    flags: Sequence[str] | None = None  # of versus_reference.py; None: a variant of ours


def add_up_branches(components: Any, _: PhasedEngine) -> None:
    """Each cell as one convolution for each of its operations, whatever the size."""
    for module in components.generator.modules():
        if isinstance(module, SearchableCell):
            module.fused = "never"


def use_darts_of_betty(_: Any, engine: PhasedEngine) -> None:
    """Betty's finite difference for both hops, on our levels: their batch and random numbers replay.

    It needs no record of a step, but the synthetic images of stage II in a graph that leads to G. Nothing keeps its
    evaluations from being rounded to bfloat16, where the steps are.
    """
    generation = engine.generator
    for level in (generation, engine.segmenter):
        level.config.type = "darts"

    def render(mask: Tensor) -> Any:
        with torch.enable_grad(), generation.network.restored_buffers():
            return generation.synthesise(mask)

    generation.render = render
    engine.plan.hypergradient = "none"  # which levels record nothing for


EXACT = Variant("exact", "Eq. 9 by double backward; cells fused where that is faster")
PLAIN_STEPS = Variant(
    "exact, plain steps", "as if G and S made plain gradient steps", {"override": ["precondition=identity"]}
)
DARTS = Variant("Betty's darts", "the same, by differences at the weights after the step", change=use_darts_of_betty)
BRANCHES = Variant("exact, branches added up", "as `exact`; no cell fused", change=add_up_branches)
FULL = Variant("exact_full", "Eq. 9 and the direct term A → Î → S′", {"hypergradient": "exact_full"})
DIFFERENCES = Variant("finite_difference", "as `exact`, by differences", {"hypergradient": "finite_difference"})
HYPERGRADIENTS = (EXACT, BRANCHES, FULL, DIFFERENCES, PLAIN_STEPS, DARTS)
EVERY_FOURTH = Variant("exact, arch_every=4", "as `exact`, at every fourth step", {"arch_every": 4})
NONE = Variant("none", "none: A rests", {"hypergradient": "none"})
REFERENCE = (
    Variant("the authors' code", "none: differences, for S and all zero; A rests", flags=()),
    Variant("the authors' code, freed memory kept as in ours", "the same", flags=("--reuse-memory",)),
)


def build(arguments: argparse.Namespace, variant: Variant, **more: Any) -> tuple[Any, PhasedEngine]:
    options = {**vars(arguments), "hypergradient": "exact", **variant.options, **more}
    options["override"] = [*arguments.override, *variant.options.get("override", [])]
    return build_engine(argparse.Namespace(**options))


def measure(arguments: argparse.Namespace, variant: Variant) -> Row:
    """Mean of as many iterations as are asked for, in whole cycles of `arch_every`, and at least one."""
    components, engine = build(arguments, variant)
    if variant.change:
        variant.change(components, engine)
    cycle = engine.segmenter.config.unroll_steps
    count = cycle * max(1, arguments.iterations // cycle)
    for _ in range(max(cycle, 2)):
        engine.advance()
    clock = Clock(components.device)
    for _ in range(count):
        engine.advance()
    wall, processors = clock.read()
    return {
        "seconds": wall / count,
        "cpu_seconds": processors / count,
        "peak_gib": peak_memory(components.device) / 2**30,
        "generator_parameters": count_parameters(components.generator),
        "segmenter_parameters": count_parameters(components.segmenter),
        "device": components.device.type,
        "machine": machine(components.device),
    }


def take_turns(variants: Sequence[Variant], arguments: argparse.Namespace) -> list[Row]:
    theirs = [str(RUNNER), *(f"--{n}={vars(arguments)[n]}" for n in ("reference", "betty", "size", "iterations"))]
    rows = []
    for turn, variant in product(range(arguments.rounds), variants):
        print(f"round {turn + 1} of {arguments.rounds}: {variant.name}", file=sys.stderr)
        flags = variant.flags
        row = forked(measure, arguments, variant) if flags is None else in_a_process_of_its_own(*theirs, *flags)
        rows.append({"variant": variant.name, "round": turn, **row})
    return rows


def compared_gradient(arguments: argparse.Namespace, variant: Variant) -> list[float]:
    """∇_A of step GRADIENT_AT; the steps before leave A as it is."""
    components, engine = build(arguments, variant, arch_every=GRADIENT_AT, precision="fp32")
    for _ in range(GRADIENT_AT - 1):
        engine.advance()
    if variant.change:
        variant.change(components, engine)
    return list(gradient_of_architecture(engine).tolist())


def compare_gradients(arguments: argparse.Namespace) -> list[Row]:
    """Relative error |g − e| / |e| and cosine of every hypergradient g beside an exact one, e."""
    print(f"the gradients of step {GRADIENT_AT}", file=sys.stderr)
    lists = {variant.name: forked(compared_gradient, arguments, variant) for variant in HYPERGRADIENTS}
    gradients = {name: torch.tensor(values, dtype=torch.float64) for name, values in lists.items()}
    pairs = [(variant.name, EXACT.name) for variant in HYPERGRADIENTS[1:]] + [(DARTS.name, PLAIN_STEPS.name)]
    rows = []
    for name, exact in pairs:
        g, e = gradients[name], gradients[exact]
        measures = {"error": float((g - e).norm() / e.norm()), "cosine": float(torch.cosine_similarity(g, e, dim=0))}
        rows.append({"variant": name, "beside": exact, **measures})
    return rows


def costs_table(variants: Sequence[Variant], rows: Sequence[Row]) -> str:
    def taken(variant: Variant, column: str) -> list[float]:
        return [row[column] for row in rows if row["variant"] == variant.name]

    def cell(variant: Variant, column: str) -> str:
        rounds = taken(variant, column)
        ratio = median(rounds) / median(taken(variants[0], column))
        return f"{median(rounds):.2f} [{min(rounds):.2f} to {max(rounds):.2f}], × {ratio:.2f}"

    titles = ["one joint iteration", *COLUMNS.values(), "the gradient of A that it computes"]
    lines = [[v.name, *(cell(v, column) for column in COLUMNS), v.computes] for v in variants]
    return markdown(titles, lines)


def gradients_table(rows: Sequence[Row]) -> str:
    lines = [[row["variant"], row["beside"], f"{row['error']:.1e}", f"{row['cosine']:.4f}"] for row in rows]
    return markdown(["gradient of A", "beside", "relative error", "cosine"], lines) if rows else ""


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size(parser)
    parser.add_argument("--reference", metavar="DIR", help="a checkout of importZL/GenSeg")
    parser.add_argument("--betty", metavar="DIR", help="a folder with betty-ml 0.2.0, for the reference alone")
    parser.add_argument("--width", type=int, help="base channels of all networks: 16, or the reference's 64")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=1, help="counted iterations of a process")
    parser.set_defaults(size=None)
    arguments = parser.parse_args()
    arguments.size = arguments.size or (256 if arguments.reference else 128)
    if arguments.reference and not arguments.betty:
        parser.error("--reference needs --betty, a folder with betty-ml 0.2.0: --help says how to make it")
    fixed = (arguments.batch, arguments.searched, arguments.quick, arguments.width or 64)
    if arguments.reference and fixed != (2, "decoder", False, 64):
        parser.error("beside the reference: batches of 2, the decoder searched, 64 base channels; leave those options")
    arguments.override = [*networks(arguments), *arguments.override]
    return arguments


def networks(arguments: argparse.Namespace) -> list[str]:
    """Overrides that make the networks as wide as is asked for, and the images grey where the reference's are."""
    if arguments.quick:
        return []
    width = arguments.width or (64 if arguments.reference else 16)
    parts = ("backbone", "generator", "generator.discriminator")
    wide = [f"generator.max_channels={8 * width}", *(f"{part}.base_channels={width}" for part in parts)]
    return ["dataset.channels=1", *wide] if arguments.reference else wide


def heading(arguments: argparse.Namespace, rows: Sequence[Row]) -> str:
    sizes = {tuple(round(row[f"{n}_parameters"] / 1e6, 1) for n in ("generator", "segmenter")) for row in rows}
    millions = " or ".join(f"{generator} M and {segmenter} M" for generator, segmenter in sorted(sizes))
    return (
        f"{arguments.size} x {arguments.size}, batch {arguments.batch}, {arguments.searched} searched; parameters of "
        f"generator and segmenter: {millions}. {rows[-1]['machine']}. Median of {arguments.rounds} rounds."
    )


def main() -> None:
    arguments = read_arguments()
    variants = (*((*REFERENCE, EXACT) if arguments.reference else HYPERGRADIENTS), EVERY_FOURTH, NONE)
    warm_imports()
    rows = take_turns(variants, arguments)
    gradients = [] if arguments.reference else compare_gradients(arguments)
    parts = [heading(arguments, rows), costs_table(variants, rows), gradients_table(gradients)]
    name = f"versus-{rows[-1]['device']}-{arguments.size}{'-reference' if arguments.reference else ''}"
    write_result(name, "\n\n".join(parts), {"iterations": rows, "gradients": gradients})


if __name__ == "__main__":
    main()
