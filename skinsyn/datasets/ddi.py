"""Stanford DDI (Daneshjou et al. 2022, doi 10.1126/sciadv.abq6147): 656 biopsy-proven photographs, chosen by skin type.

Skin type is known as a pair only (12: I-II, 34: III-IV, 56: V-VI), so that `fst` holds the pair. The classes are
malignant and benign: its 78 diseases are too many for so few images. No patient ids.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from . import match

__all__ = ["CONDITIONS", "HOW_TO", "SKIN_TONES", "rows"]

COLUMNS = ("DDI_ID", "DDI_file", "skin_tone", "malignant", "disease")
CONDITIONS = ("benign", "malignant")
SKIN_TONES = (12, 34, 56)
HOW_TO = (
    "Stanford DDI forbids redistribution: ask for it at ddi-dataset.github.io; put ddi_metadata.csv and its images\n"
    "000001.png … beside each other into data/ddi/."
)


def rows(folder: Path) -> pd.DataFrame:
    """Every row of `ddi_metadata.csv`: image_id, file, condition (malignant | benign), malignant, fst (12, 34,
    56; -1 where empty), patient_id (''), lesion_id (''), label_flag (''), disease.

    Raises FileNotFoundError or ValueError naming the file, the column and the rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lines = "DDI_ID,DDI_file,skin_tone,malignant,disease", "1,000001.png,56,True,melanoma"
    ...     _ = Path(folder, "ddi_metadata.csv").write_text("\\n".join(lines))
    ...     rows(Path(folder))[["image_id", "condition", "fst"]].to_numpy().tolist()
    [['000001', 'malignant', 56]]
    """
    file = folder / "ddi_metadata.csv"
    frame = match.read_csv(file, COLUMNS, key="DDI_file")
    malignant = frame["malignant"].astype("str").str.strip().str.lower().map({"true": True, "false": False})
    _refuse(file, frame, "malignant", malignant.isna(), "True or False")
    tone = pd.to_numeric(frame["skin_tone"], errors="coerce").fillna(-1)
    empty = frame["skin_tone"].isna()
    _refuse(file, frame, "skin_tone", ~(tone.isin(SKIN_TONES) | empty), "12, 34 or 56")
    malignant = malignant.astype(bool)
    columns = {
        "image_id": [Path(name).stem for name in frame["DDI_file"]],
        "file": frame["DDI_file"],
        "condition": np.where(malignant, "malignant", "benign"),
        "malignant": malignant,
        "fst": tone.astype("int64"),
        "disease": frame["disease"].astype("str"),
    }
    return pd.DataFrame(match.NOT_RECORDED | columns)


def _refuse(file: Path, frame: pd.DataFrame, column: str, wrong: pd.Series, expected: str) -> None:
    """Raises ValueError naming the first wrong row of a column."""
    if wrong.any():
        row = frame[wrong].iloc[0]
        raise ValueError(
            f"{file}: {column} of {row['DDI_file']} is {str(row[column])!r}, expected {expected}"
            f" ({int(wrong.sum())} rows)"
        )
