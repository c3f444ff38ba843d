"""HAM10000 (Tschandl et al. 2018, doi 10.1038/sdata.2018.161, CC BY-NC 4.0): 10,015 dermoscopic images, 7 diagnoses.

Its limits: no Fitzpatrick skin type is recorded, no patient ids, and several images of one lesion, so that splits and
tests go by lesion. Two of its diagnoses are wider than those that other data sets name (`akiec`, `bkl`) and have names
of their own here.
"""

from pathlib import Path

import pandas as pd

from . import match

__all__ = ["CONDITIONS", "HOW_TO", "rows"]

# Code → name in prompts and tables (PAD-UFES-20's where both mean the same); which are malignant.
CONDITIONS = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "nevus",
    "vasc": "vascular lesion",
}
MALIGNANT = ("bcc", "mel")  # akiec is not invasive; PAD-UFES-20 counts its actinic keratoses as benign, too
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")  # newer copies add `dataset`
HOW_TO = (
    "HAM10000 is on Harvard Dataverse (doi 10.7910/DVN/DBW86T, CC BY-NC 4.0). Unpack HAM10000_images_part_1.zip and\n"
    "HAM10000_images_part_2.zip below data/ham10000/ (subfolders are searched) and put HAM10000_metadata.csv there."
)


def rows(folder: Path) -> pd.DataFrame:
    """Every row of `HAM10000_metadata.csv`: image_id, file, condition, malignant, fst (-1), patient_id (''), lesion_id,
    label_flag (''), dx_type (how the diagnosis was made: histo | follow_up | consensus | confocal).

    A diagnosis outside the seven is kept under its own code, for the caller to count. Raises FileNotFoundError or
    ValueError naming the file, the column and the rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lines = "lesion_id,image_id,dx,dx_type,age,sex,localization", "HAM_1,ISIC_1,mel,histo,50,male,back"
    ...     _ = Path(folder, "HAM10000_metadata.csv").write_text("\\n".join(lines))
    ...     rows(Path(folder))[["image_id", "condition", "lesion_id"]].to_numpy().tolist()
    [['ISIC_1', 'melanoma', 'HAM_1']]
    """
    frame = match.read_csv(folder / "HAM10000_metadata.csv", COLUMNS, key="image_id")
    columns = {
        "image_id": frame["image_id"],
        "file": frame["image_id"] + ".jpg",
        "condition": [CONDITIONS.get(code, str(code)) for code in frame["dx"]],
        "malignant": frame["dx"].isin(MALIGNANT),
        "lesion_id": frame["lesion_id"].astype("str").fillna(""),
        "dx_type": frame["dx_type"].astype("str").fillna(""),
    }
    return pd.DataFrame(match.NOT_RECORDED | columns)
