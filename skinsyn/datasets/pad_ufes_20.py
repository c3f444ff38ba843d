"""PAD-UFES-20 (Pacheco et al. 2020, doi 10.17632/zr7vgbcyr2.1, CC BY 4.0): smartphone photographs of six diagnoses.

Its limits: skin types V-VI are almost absent, skin type is missing by diagnosis (never for BCC, MEL or SCC), and some
patients have several diagnoses, so that all splits go by patient.
"""

from pathlib import Path

import pandas as pd

from . import match

__all__ = ["CONDITIONS", "HOW_TO", "rows"]

# The data set's code → the name that prompts and tables use; and which are malignant.
CONDITIONS = {
    "ACK": "actinic keratosis",
    "BCC": "basal cell carcinoma",
    "MEL": "melanoma",
    "NEV": "nevus",
    "SCC": "squamous cell carcinoma",
    "SEK": "seborrheic keratosis",
}
MALIGNANT = ("BCC", "MEL", "SCC")
COLUMNS = ("patient_id", "lesion_id", "fitspatrick", "diagnostic", "img_id")
HOW_TO = (
    "PAD-UFES-20 is open (CC BY 4.0): doi 10.17632/zr7vgbcyr2.1 on Mendeley Data. Unpack the three zips of PAT_….png\n"
    "below one folder data/pad_ufes_20/ (subfolders are searched) and put metadata.csv there."
)


def rows(folder: Path) -> pd.DataFrame:
    """Every row of `metadata.csv`: image_id, file, condition, malignant, fst, patient_id, lesion_id, label_flag.

    `img_id` keeps the published `.png` name; the photograph may have another suffix. A diagnosis outside the six is
    kept under its own code, for the caller to count. Raises FileNotFoundError or ValueError naming the file, column and
    rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lines = "patient_id,lesion_id,fitspatrick,diagnostic,img_id", "PAT_8,15,,NEV,PAT_8_15_820.png"
    ...     _ = Path(folder, "metadata.csv").write_text("\\n".join(lines))
    ...     rows(Path(folder))[["image_id", "condition", "fst"]].to_numpy().tolist()
    [['PAT_8_15_820', 'nevus', -1]]
    """
    frame = match.read_csv(folder / "metadata.csv", COLUMNS, key="img_id")
    columns = {
        "image_id": [Path(name).stem for name in frame["img_id"]],
        "file": frame["img_id"],
        "condition": [CONDITIONS.get(code, str(code)) for code in frame["diagnostic"]],
        "malignant": frame["diagnostic"].isin(MALIGNANT),
        "fst": frame["fitspatrick"].fillna(-1).astype("int64"),
        "patient_id": frame["patient_id"].astype("str").fillna(""),
        "lesion_id": [f"lesion {x}" if pd.notna(x) else "" for x in frame["lesion_id"]],
    }
    return pd.DataFrame(match.NOT_RECORDED | columns)
