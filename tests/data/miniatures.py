"""Every dataset of conf/dataset in miniature: tiny pictures under its publisher's folder names, file names, formats and
colour modes, with the odd files that lie between them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.miniature import Miniature, blob, labels, shape_of
from data.miniatures_skin_lungs import covid_qu_ex, isic, jsrt, nlm_mc, nlm_sz, ph2, waterloo


def fpd(mini: Miniature) -> None:
    top = "Fetoscopy Placenta Dataset"
    for number in range(1, 7):
        for frame in (2785, 2807):
            id, video = f"anon{number:03d}_{frame:05d}", f"video{number:02d}"
            annotated, clips = (f"{top}/Vessel_{kind}/{video}" for kind in
                                ("segmentation_annotations", "registration_unannotated_clips"))  # fmt: skip
            mini.image(f"{annotated}/images/{id}.png", id, group=video)
            mini.mask(f"{annotated}/masks_gt/{id}_mask.png", id, blob(id), "RGB" if number > 1 else "RGBA")
            mini.image(f"{annotated}/masks_gt/{id}_mask_binary.tif", mode="L")  # left by another loader
            mini.image(f"{clips}/images/anon{number:03d}_00851.png")
            mini.image(f"{clips}/masks_predicted/anon{number:03d}_00851.png", mode="L")
    mini.text(f"{top}/README.txt")


def fetreg(mini: Miniature) -> None:
    inner = "Train_FetReg2021_Task1_Segmentation"  # of the test part too, as published
    for part, number in (("Train", 1), ("Train", 2), ("Train", 3), ("Train", 4), ("Test", 10), ("Test", 12)):
        for frame in (500, 525):
            video = f"Video{number:03d}"
            odd = f"frame0{video}_{frame:05d}"
            id = f"{video}_{odd if part == 'Test' else f'frame{frame:05d}'}"
            folder = f"FetReg2021_dataset/{part}/{inner}/{video}"
            drawn = labels(id, 3)
            if (number, frame) == (2, 500):
                drawn[drawn == 1] = 2  # tool and fetus, no vessel
            mini.image(f"{folder}/images/{id}.png", id, group=video, test=part == "Test")
            mini.mask(f"{folder}/labels/{id}.png", id, drawn == 1, values=drawn)
            mini.image(
                f"FetReg2021_dataset/Train_FetReg2021_Task2_RegistrationClips/{video}/images/anon{number:03d}_00001.png"
            )
    mini.text("FetReg2021_dataset/README.md")


def kvasir(mini: Miniature) -> None:
    top = "Kvasir-SEG"
    for id in ("cju0qkwl35piu0993l0dewei2", "cju0qoxqj9q6s0835b43399p4", "cju1", "cju2", "cju3"):
        mini.image(f"{top}/images/{id}.{'JPG' if id == 'cju1' else 'jpg'}", id)
        mini.mask(f"{top}/masks/{id}.jpg", id, blob(id), "RGB")
        mini.lossy.add(f"{top}/masks/{id}.jpg")
        mini.image(f"{top}/masks/preprocessed/{id}.tif", mode="L")  # left by another loader
        mini.image(f"sessile-main-Kvasir-SEG/images/{id}.jpg")
        mini.image(f"sessile-main-Kvasir-SEG/masks/{id}.jpg", mode="L")
    mini.text(f"{top}/kavsir_bboxes.json")


def cvc_clinic(mini: Miniature) -> None:
    """The mirror on Kaggle: every frame as PNG and as TIF."""
    starts = {1: "1", 2: "1", 25: "1", 26: "26", 50: "26", 51: "51", 100: "79", 592: "592", 612: "592"}
    for number, start in starts.items():
        id = str(number)
        mini.image(f"PNG/Original/{id}.png", id, group=start)
        values = 255 * blob(id)
        if number == 25:
            values[blob(id) & ~np.roll(blob(id), 1, axis=1)] = 200
            mini.lossy.add(f"PNG/Ground Truth/{id}.png")
        mini.mask(f"PNG/Ground Truth/{id}.png", id, blob(id), values=values)
        mini.image(f"TIF/Original/{id}.tif")
        mini.image(f"TIF/Ground Truth/{id}.tif", mode="L")
    mini.text("metadata.csv", "class_dict.csv")


def buid(mini: Miniature) -> None:
    extra = {"benign (195)": 2, "malignant (53)": 1}
    modes = {"benign (1)": "1", "benign (10)": "RGB", "malignant (53)": "RGBA"}
    for kind, numbers in (("benign", (1, 4, 10, 100, 195)), ("malignant", (1, 53)), ("normal", (1, 10))):
        for number in numbers:
            id = f"{kind} ({number})"
            place, mode = f"Dataset_BUSI_with_GT/{kind}/{id}", modes.get(id, "L")
            mini.image(f"{place}.{'PNG' if number == 100 else 'png'}", id)
            truth = np.zeros(shape_of(id), bool) if kind == "normal" else blob(id)
            mini.mask(f"{place}_mask.png", id, truth, mode)
            for more in range(1, 1 + extra.get(id, 0)):
                mini.mask(f"{place}_mask_{more}.png", id, blob(id, salt=str(more)), mode)
    mini.image("Dataset_BUSI_with_GT/benign/benign (4)_mask_1.png", mode="L")  # not of its image's size


def fuseg(mini: Miniature) -> None:
    data = "wound-segmentation-master/data"
    top = f"{data}/Foot Ulcer Segmentation Challenge"
    for part, names in (
        ("train", ("0011", "0012", "0092", "1010")),
        ("validation", ("0001", "0233")),
        ("test", ("1011",)),
    ):
        for id in names:
            mini.image(f"{top}/{part}/images/{id}.png", "" if part == "test" else id, test=part == "validation")
            mini.unlabelled += part == "test"
            truth = np.zeros(shape_of(id), bool) if id == "0092" else blob(id)
            values = np.asarray(255 * truth, np.uint8)
            if id == "0233":  # so published
                values[tuple(np.argwhere(~truth)[:84].T)] = 32
                mini.lossy.add(f"{top}/{part}/labels/{id}.png")
            if part != "test":
                mini.mask(f"{top}/{part}/labels/{id}.png", id, truth, "RGB", values)
        for folder in ("images", "labels"):
            mini.image(f"{data}/Medetec_foot_ulcer_224/{part}/{folder}/foot-ulcer-0027.png")
    mini.text(f"{top}/README.MD", f"{top}/FootUlcerSegmentationChallenge2021.pdf")


def icfluid(mini: Miniature) -> None:
    top = "2021-training-data-ZA/2021-training-data-ZA"
    for id, mask in (("815DME", "815mask"), ("815DME_F", "815_F"), ("511DME", "MASK-DME511"), ("81DME", "81"),
                     ("42DME", "42_mask"), ("42DME_F", "42_F_mask")):  # fmt: skip
        mini.image(f"{top}/{id}/images/{id}.jpeg", id, group=id.partition("DME")[0])
        truth = blob(id)
        truth[tuple(np.argwhere(truth)[7])] = False  # masks have pin-holes
        mini.mask(f"{top}/{id}/masks/{mask}.png", id, truth, "RGB")
        mini.text(f"{top}/{id}/Thumbs.db")
    mini.image(f"{top}/815DME_F/masks/MASK-DME511.png", mode="L")  # of another case


def camus(mini: Miniature, label: int) -> None:
    for patient in (f"patient{number:04d}" for number in range(1, 5)):
        folder = f"CAMUS_public/database_nifti/{patient}"
        for view in ("2CH", "4CH"):
            id = f"{patient}_{view}_ED"
            mini.image(f"{folder}/{id}.nii.gz", id, group=patient, test=patient == "patient0001")
            drawn = labels(id, 3)
            mini.mask(f"{folder}/{id}_gt.nii.gz", id, drawn == label, values=drawn)
            for other in ("ES", "ES_gt"):
                mini.image(f"{folder}/{patient}_{view}_{other}.nii.gz")
            for sequence in ("half_sequence", "half_sequence_gt"):
                mini.volume(f"{folder}/{patient}_{view}_{sequence}.nii.gz", np.zeros((3, 8, 6), np.uint8))
            mini.text(f"{folder}/Info_{view}.cfg", content="ED: 1\nES: 18\n")
    mini.text("CAMUS_public/database_split/subgroup_testing.txt", content="patient0001\n")


def echonet(mini: Miniature) -> None:
    """As converted; the videos need not lie there any more."""
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for number, part in enumerate(("train", "train", "train", "validation", "validation", "test")):
        for frame in (46, 61 + number):
            video = f"0X{number}2D1CE5FC57B6FBC"
            id = f"{video}_{frame:04d}"
            splits[part].append(id)
            mini.image(f"converted/images/{id}.png", id, group=video, test=part == "test", mode="L")
            mini.mask(f"converted/masks/{id}.png", id, blob(id))
    mini.text("converted/splits.json", content=json.dumps(splits))


def decathlon(mini: Miniature, task: str, name: str, published: list[str], test: list[str], dtypes: list[type]) -> None:
    """A task of the Medical Segmentation Decathlon; images and labels of several dtypes."""
    for number, digits in enumerate([*test, *published]):
        id = f"{name}_{digits}"
        drawn = labels(id, 2, (5 + number % 2, 8, 6))
        noise = np.random.default_rng(number).normal(100 * number, 50, drawn.shape)
        mini.volume(f"{task}/imagesTr/{id}.nii.gz", noise.clip(0, 255).astype(dtypes[number % len(dtypes)]))
        mini.volume(f"{task}/labelsTr/{id}.nii.gz", drawn.astype(np.float32 if number == 1 else np.uint8))
        mini.case(id, test=digits in test)
        mini.truth[id] = drawn > 0
        mini.text(f"{task}/imagesTr/._{id}.nii.gz", f"{task}/labelsTr/._{id}.nii.gz")
    for number in ("132", "137"):
        mini.volume(f"{task}/imagesTs/{name}_{number}.nii.gz", np.zeros((5, 8, 6), np.uint8))
        mini.unlabelled += 1
    mini.text(f"{task}/dataset.json", f"{task}/._dataset.json", "._" + task)


BUILDERS: dict[str, Callable[[Miniature], None]] = {
    "isic": isic, "ph2": ph2, "jsrt": jsrt, "nlm_mc": nlm_mc, "nlm_sz": nlm_sz, "covid_qu_ex": covid_qu_ex, "fpd": fpd,
    "fetreg": fetreg, "kvasir": kvasir, "cvc_clinic": cvc_clinic, "buid": buid, "fuseg": fuseg, "icfluid": icfluid,
    "dermis": lambda mini: waterloo(mini, "dermis"),
    "dermquest": lambda mini: waterloo(mini, "dermquest"),
    "etab_lv": lambda mini: camus(mini, 1),
    "etab_myo": lambda mini: camus(mini, 2),
    "etab_lv_echonet": echonet,
    "hippocampus": lambda mini: decathlon(
        mini, "Task04_Hippocampus", "hippocampus", ["090", "091", "393", "394"], ["001", "003", "088"],
        [np.float32, np.uint8],
    ),
    "liver": lambda mini: decathlon(mini, "Task03_Liver", "liver", ["0", "2", "19", "20", "130"], [], [np.int16]),
}  # fmt: skip


def build(name: str, root: Path) -> Miniature:
    """Write the miniature of a dataset below `root`."""
    mini = Miniature(root)
    BUILDERS[name](mini)
    return mini
