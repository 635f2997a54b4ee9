"""Skin and lung datasets in miniature, see miniatures.py."""

import unicodedata

import numpy as np

from data.miniature import Miniature, blob, shape_of


def isic(mini: Miniature) -> None:
    for part, numbers in (("Training", (0, 1, 3, 4, 9)), ("Validation", (12255,)), ("Test", (12169, 36064))):
        images, masks = f"ISIC2018_Task1-2_{part}_Input", f"ISIC2018_Task1_{part}_GroundTruth"
        for number in numbers:
            id = f"ISIC_{number:07d}"
            mini.image(f"{images}/{id}.{'JPG' if number == 1 else 'jpg'}", id, test=part == "Test")
            full = np.ones(shape_of(id), bool)  # a lesion may fill the whole image
            mini.mask(f"{masks}/{id}_segmentation.png", id, full if number == 3 else blob(id))
            mini.image(f"{images}/{id}_superpixels.png")
        mini.text(f"{images}/ATTRIBUTION.txt", f"{masks}/LICENSE.txt", f"{images}/Thumbs.db")
        mini.text(f"__MACOSX/{images}/._{id}.jpg", f"{images}/._{id}.jpg", f"{masks}/._{id}_segmentation.png")


def ph2(mini: Miniature) -> None:
    top = "PH2Dataset/PH2 Dataset images"
    for id, mode, ending in (("IMD002", "1", "bmp"), ("IMD003", "L", "BMP"), ("IMD009", "P", "bmp"),
                             ("IMD042", "RGB", "bmp"), ("IMD437", "1", "bmp")):  # fmt: skip
        mini.image(f"{top}/{id}/{id}_Dermoscopic_Image/{id}.{ending}", id)
        mini.mask(f"{top}/{id}/{id}_lesion/{id}_lesion.{ending}", id, blob(id), mode)
        mini.image(f"{top}/{id}/{id}_roi/{id}_R1_Label4.bmp")
    mini.text("PH2Dataset/PH2_dataset.txt", "PH2Dataset/PH2_dataset.xlsx", "PH2Dataset/Readme.txt")


def waterloo(mini: Miniature, wanted: str) -> None:
    """DermIS and DermQuest, which lie in the same two archives."""
    for archive, kind in ((1, "melanoma"), (2, "notmelanoma")):
        stems = ("LMM1", "SSM_2", "Mélanome 3") if kind == "melanoma" else ("NM1", "D_orig_4")
        for source in ("dermis", "dermquest"):
            spelt = "dermIS" if (kind, source) == ("melanoma", "dermis") else source
            folder = f"Skin Image Data Set-{archive}/skin_data/{kind}/{spelt}"
            for stem in stems:
                id = f"{stem}_orig"
                composed, apart = (unicodedata.normalize(form, f"{folder}/{stem}") for form in ("NFC", "NFD"))
                mini.image(f"{apart}_orig.jpg", id if source == wanted else "")
                if source == wanted:
                    mini.mask(f"{composed}_contour.png", id, blob(id))
                else:
                    mini.image(f"{composed}_contour.png", mode="L")
    mini.text("Skin Image Data Set-1/readme.txt", "Skin Image Data Set-1/skin_data/melanoma/dermIS/Thumbs.db")


def jsrt(mini: Miniature) -> None:
    for number, id in enumerate(("JPCLN001", "JPCLN002", "JPCNN092", "JPCNN093")):
        mini.raw(f"All247images/{id}.IMG", id)
        masks = f"scratch/fold{1 if int(id[5:]) % 2 else 2}/masks"
        for side in ("left", "right"):
            small = blob(id, (64, 64), side)
            mini.mask(f"{masks}/{side} lung/{id}.gif", id, small, "P" if number else "L")
            mini.image(f"{masks}/{side} clavicle/{id}.gif", mode="P")
        mini.image(f"{masks}/heart/{id}.gif", mode="P")
        mini.text(f"scratch/fold1/landmarks/{id}.txt", "scratch/readme.txt")
        mini.truth[id] = mini.truth[id].repeat(32, axis=0).repeat(32, axis=1)  # 64 -> 2048


def nlm_mc(mini: Miniature) -> None:
    for number, label in ((1, 0), (2, 0), (3, 0), (99, 1), (108, 1)):
        id = f"MCUCXR_{number:04d}_{label}"
        mini.image(f"MontgomerySet/CXR_png/{id}.png", id, mode="L")
        for side in ("left", "right"):
            mode = "L" if number == 2 else "1"
            mini.mask(f"MontgomerySet/ManualMask/{side}Mask/{id}.png", id, blob(id, salt=side), mode)
            mini.text(
                f"MontgomerySet/ManualMask/{side}Mask/Thumbs.db", f"MontgomerySet/ManualMask/{side}Mask/._{id}.png"
            )
        mini.text(f"MontgomerySet/ClinicalReadings/{id}.txt")
    mini.text("MontgomerySet/NLM-MontgomeryCXRSet-ReadMe.pdf", "MontgomerySet/CXR_png/Thumbs.db")


def nlm_sz(mini: Miniature) -> None:
    for number, mode in ((1, "P"), (2, "P"), (3, "RGB"), (25, "P"), (36, "L"), (330, "P"), (662, "L")):
        id = f"CHNCXR_{number:04d}_{int(number > 326)}"
        masked = number not in (25, 36)
        mini.image(f"ChinaSet_AllFiles/CXR_png/{id}.png", id if masked else "", mode=mode)
        mini.unlabelled += not masked
        if masked:
            mini.mask(f"mask/mask/{id}_mask.png", id, blob(id))
        mini.text(f"ChinaSet_AllFiles/ClinicalReadings/{id}.txt")
    mini.text("ChinaSet_AllFiles/NLM-ChinaCXRSet-ReadMe.docx", "ChinaSet_AllFiles/CXR_png/Thumbs.db")


def covid_qu_ex(mini: Miniature) -> None:
    top = "{0} Segmentation Data/{0} Segmentation Data"
    for number, part in enumerate(("Train", "Train", "Val", "Test"), start=1):
        kinds = {"COVID-19": f"covid_{number}", "Non-COVID": f"non_COVID ({number})", "Normal": f"Normal ({number})"}
        for kind, id in kinds.items():
            folder = f"{top.format('Lung')}/{part}/{kind}"
            mini.image(f"{folder}/images/{id}.png", id, test=part == "Test", mode="L")
            mini.mask(f"{folder}/lung masks/{id}.png", id, blob(id))
            again = f"{top.format('Infection')}/{part}/{kind}"  # the same images lie there as well
            for name in ("images", "lung masks", "infection masks"):
                mini.image(f"{again}/{name}/{id}.png", mode="L")
    mini.text("COVID-QU-Ex dataset.txt")
