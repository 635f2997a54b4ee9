"""A results.csv (as `genseg report` writes it) as a table: mean ± sd over seeds, and paired tests against one method.

python experiments/summary.py experiments/lungs_small/results.csv --against combine
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from genseg_betty.statistics import paired_t_test, summarise


def read(path: Path, metric: str) -> dict[str, dict[str, dict[int, float]]]:
    """method (and what sets it apart) -> test set -> seed -> score."""
    scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = " · ".join(part for part in (row["method"], row["variant"]) if part)
            scores[name][row["test_set"]][int(row["seed"])] = float(row[metric])
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--metric", default="dice")
    parser.add_argument("--against", help="print paired differences to this method")
    arguments = parser.parse_args()
    scores = read(arguments.results, arguments.metric)
    sets = list(dict.fromkeys(name for method in scores.values() for name in method))
    print("| method | " + " | ".join(sets) + " | seeds |\n|---" * 1 + "|---" * (len(sets) + 1) + "|")
    for method, found in sorted(scores.items()):
        cells = [str(summarise(list(found[name].values()))) for name in sets]
        print(f"| {method} | " + " | ".join(cells) + f" | {len(found[sets[0]])} |")
    if arguments.against:
        for method in sorted(set(scores) - {arguments.against}):
            for name in sets:
                ours, theirs = scores[method][name], scores[arguments.against][name]
                seeds = sorted(ours.keys() & theirs.keys())
                test = paired_t_test([ours[s] for s in seeds], [theirs[s] for s in seeds])
                print(f"{method} - {arguments.against}, {name}: {test}")


if __name__ == "__main__":
    main()
