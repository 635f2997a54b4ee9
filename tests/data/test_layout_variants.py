"""Published datasets in other states than test_layouts.py has them: older releases, other depths, parts left out."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from data.miniature import Miniature, assert_read_as_drawn, blob, config_of, labels
from data.miniatures import build
from genseg_betty.config import conf_dir
from genseg_betty.data.cases import open_dataset, scan_dataset


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("nlm_sz", {"mask/mask": "mask", "ChinaSet_AllFiles": "ChinaSet_AllFiles"}),
        ("kvasir", {"Kvasir-SEG/images": "images", "Kvasir-SEG/masks": "masks"}),
        ("covid_qu_ex", {"Lung Segmentation Data/Lung Segmentation Data": "Lung Segmentation Data"}),
        ("icfluid", {"2021-training-data-ZA/2021-training-data-ZA": "2021-training-data-ZA"}),
        ("jsrt", {"scratch/fold1/masks": "masks", "scratch/fold2/masks": "masks/fold2", "All247images": "."}),
        ("fuseg", {"wound-segmentation-master/data/Foot Ulcer Segmentation Challenge": "."}),
        ("buid", {"Dataset_BUSI_with_GT": "."}),
        ("fpd", {"Fetoscopy Placenta Dataset": "FetoscopyPlacentaDataset"}),
        ("fetreg", {"FetReg2021_dataset/Train": ".", "FetReg2021_dataset/Test": "Test"}),
        ("ph2", {"PH2Dataset/PH2 Dataset images": "PH2_Dataset_images"}),
        ("dermis", {"Skin Image Data Set-1": ".", "Skin Image Data Set-2": "."}),
        ("etab_myo", {"CAMUS_public/database_nifti": ".", "CAMUS_public/database_split": "database_split"}),
    ],
)
def test_other_folders_are_read_the_same(name: str, moves: dict[str, str], tmp_path: Path) -> None:
    mini = build(name, tmp_path / "built")
    for source, target in moves.items():
        shutil.copytree(mini.root / source, tmp_path / "moved" / target, dirs_exist_ok=True)
    assert_read_as_drawn(config_of(name, tmp_path / "moved"), mini)


def test_a_shenzhen_image_without_mask_is_unlabelled(tmp_path: Path) -> None:
    mini = build("nlm_sz", tmp_path)
    (tmp_path / "mask" / "mask" / "CHNCXR_0001_0_mask.png").unlink()
    dataset = open_dataset(config_of("nlm_sz", tmp_path))
    assert len(dataset.unlabelled) == mini.unlabelled + 1
    assert len(dataset.cases) == len(mini.groups) - 1


def test_a_lung_without_the_other_is_told(tmp_path: Path) -> None:
    build("nlm_mc", tmp_path)
    (tmp_path / "MontgomerySet" / "ManualMask" / "rightMask" / "MCUCXR_0108_1.png").unlink()
    found = [(finding.code, finding.file) for finding in scan_dataset(config_of("nlm_mc", tmp_path))[1]]
    assert ("missing_mask", "MontgomerySet/CXR_png/MCUCXR_0108_1.png") in found


def test_original_archive_of_cvc_clinic(tmp_path: Path) -> None:
    mini = Miniature(tmp_path)
    for number, start in ((1, "1"), (25, "1"), (26, "26"), (51, "51"), (612, "592")):
        id = str(number)
        mini.image(f"CVC-ClinicDB/Original/{id}.tif", id, group=start)
        mini.mask(f"CVC-ClinicDB/Ground Truth/{id}.tif", id, blob(id), "RGB")
    for root in (tmp_path, tmp_path / "CVC-ClinicDB"):
        assert_read_as_drawn(config_of("cvc_clinic", root), mini)


@pytest.mark.parametrize(("name", "label"), [("etab_lv", 1), ("etab_myo", 2)])
def test_older_release_of_camus(name: str, label: int, tmp_path: Path) -> None:
    """MetaImage files; the masks of its test part are not published."""
    mini = Miniature(tmp_path, unlabelled=1)
    for patient in ("patient0001", "patient0002", "patient0003"):
        for id in (f"{patient}_2CH_ED", f"{patient}_4CH_ED"):
            drawn = labels(id, 3)
            mini.case(id, group=patient)
            mini.truth[id] = drawn == label
            for stem, array in ((id, 255 - drawn), (f"{id}_gt", drawn), (id.replace("ED", "ES_gt"), drawn)):
                _write_metaimage(tmp_path / "training" / patient / f"{stem}.mhd", array)
    _write_metaimage(tmp_path / "testing" / "patient0451" / "patient0451_4CH_ED.mhd", drawn)
    assert_read_as_drawn(config_of(name, tmp_path), mini)


def _write_metaimage(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array[None]), str(path))


def test_the_authors_copy_of_jsrt(tmp_path: Path) -> None:
    """Pictures, and both lungs in one mask: read with the two keys that the YAML's head names."""
    mini = Miniature(tmp_path)
    for id in ("JPCLN001", "JPCLN002", "JPCNN001", "JPCNN002"):
        mini.image(f"Images/{id}.png", id, mode="L")
        mini.mask(f"Masks/{id}.gif", id, blob(id))
    head = (conf_dir() / "dataset" / "jsrt.yaml").read_text()
    keys = re.findall(r'"dataset\.((?:images|masks)=[^"]+)"', head)
    assert len(keys) == 2
    assert_read_as_drawn(config_of("jsrt", tmp_path, *keys), mini)


@pytest.mark.parametrize("kind", ["dcm", "png"])
def test_jsrt_as_dicom_and_as_mirrors_convert_it(kind: str, tmp_path: Path) -> None:
    mini = Miniature(tmp_path)
    for id in ("JPCLN001", "JPCLN002", "JPCNN001", "JPCNN002"):
        mini.case(id)
        if kind == "png":
            mini.image(f"images/images/{id}.png", id, mode="L")
        else:
            image = SimpleITK.GetImageFromArray(
                np.random.default_rng(int(id[5:])).integers(0, 4096, blob(id).shape, np.uint16)
            )
            (tmp_path / "Nodule154images").mkdir(exist_ok=True)
            SimpleITK.WriteImage(image, str(tmp_path / "Nodule154images" / f"{id}.dcm"))
        for side in ("left", "right"):
            mini.mask(f"scratch/fold1/masks/{side} lung/{id}.gif", id, blob(id, salt=side))
    dataset = open_dataset(config_of("jsrt", tmp_path))
    assert_read_as_drawn(config_of("jsrt", tmp_path), mini)
    assert dataset.scale(dataset.cases) == ((0, 255) if kind == "png" else (0, 4095))


def test_a_mirror_of_shenzhen_has_another_folder(tmp_path: Path) -> None:
    mini = build("nlm_sz", tmp_path)
    (tmp_path / "mask" / "mask").rename(tmp_path / "masks")
    (tmp_path / "ChinaSet_AllFiles" / "CXR_png").rename(tmp_path / "CXR_png")
    assert_read_as_drawn(config_of("nlm_sz", tmp_path), mini)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("isic", ["ISIC2018_Task1-2_Test_Input", "ISIC2018_Task1_Test_GroundTruth"]),
        ("fetreg", ["FetReg2021_dataset/Test"]),
        ("covid_qu_ex", ["Lung Segmentation Data/Lung Segmentation Data/Test"]),
        (
            "hippocampus",
            [
                f"Task04_Hippocampus/{folder}/hippocampus_{number}.nii.gz"
                for folder in ("imagesTr", "labelsTr")
                for number in ("001", "003", "088")
            ],
        ),
    ],
)
def test_without_the_published_test_part_cases_are_set_aside(name: str, published: list[str], tmp_path: Path) -> None:
    mini = build(name, tmp_path)
    for path in published:
        place = tmp_path / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    dataset = open_dataset(config_of(name, tmp_path))
    left = set(mini.groups) - mini.test
    assert {case.id for case in dataset.cases} == left
    assert not dataset.published_test
    assert 0 < len(dataset.test_ids()) <= len(left) / 2


def test_without_the_published_lists_of_camus_patients_are_set_aside(tmp_path: Path) -> None:
    mini = build("etab_lv", tmp_path)
    (tmp_path / "CAMUS_public" / "database_split" / "subgroup_testing.txt").unlink()
    dataset = open_dataset(config_of("etab_lv", tmp_path))
    assert {case.id for case in dataset.cases} == set(mini.groups)
    assert not dataset.published_test
    assert "so 30 % are set aside instead" in dataset.notes[0]


def test_ids_of_covid_qu_ex_are_unique_where_names_repeat(tmp_path: Path) -> None:
    mini = build("covid_qu_ex", tmp_path)
    top = tmp_path / "Lung Segmentation Data" / "Lung Segmentation Data"
    for part in ("images", "lung masks"):
        shutil.copy(top / "Train" / "Normal" / part / "Normal (1).png", top / "Test" / "Normal" / part)
    ids = [case.id for case in open_dataset(config_of("covid_qu_ex", tmp_path)).cases]
    assert len(set(ids)) == len(ids) == len(mini.groups) + 1
