"""What a user writes; mypy --strict finds nothing to say about it (test_typed.py)."""

import sys
from pathlib import Path

import numpy as np

import genseg_betty as gs


def find_best_score(folder: Path) -> float:
    run = gs.train(dataset="folder", root=folder, backbone="unet", **{"trainer.iterations": 500})
    history: dict[int, float] = run.history["validation/dice"]
    run.figure("curves").save(folder / "curves.pdf")
    page: Path = gs.report([run.path])
    print(page, run.results["test"])
    return max(history.values())


def use_run(run: Path, folder: Path) -> None:
    predictor = gs.load(run)
    mask: np.ndarray = predictor(np.zeros((64, 64), np.uint8))
    print(mask.max())
    for image in gs.predict(run, [folder], folder / "masks", overlay=True):
        print(image.mask, image.failure)
    evaluation = gs.evaluate(run, "nlm_mc", n_test=20)
    print(evaluation.dice)
    pairs = gs.generate(run, 10, folder / "pairs")
    print(pairs.table)
    exported = gs.export(run, "onnx", folder / "model.onnx")
    print(exported)


if __name__ == "__main__":
    try:
        print(find_best_score(Path(sys.argv[1])))
    except gs.UserError as error:
        print(error)
