"""Fitzpatrick 17k (Groh et al. 2021, arXiv 2104.09957): an annotation table of 16,577 rows; the user brings the images.

Known faults, counted by `faults` and never passed over: rows without a url, unknown skin types, two annotators who
often differ, rows marked as wrongly labelled, near-duplicates, no patient ids.
"""

from pathlib import Path

import pandas as pd

from . import match

__all__ = [
    "HOW_TO",
    "PUBLISHED_TRAINING",
    "WRONG",
    "against_published",
    "annotators",
    "faults",
    "metadata",
    "rows",
    "sites",
]

COLUMNS = ("md5hash", "fitzpatrick_scale", "fitzpatrick_centaur", "label", "three_partition_label", "qc", "url")
# The study's own numbers (arXiv 2308.12453): training images of each condition; 40 more of each were held out.
PUBLISHED_TRAINING = {
    "psoriasis": 584,
    "squamous cell carcinoma": 440,
    "lichen planus": 412,
    "basal cell carcinoma": 406,
    "allergic contact dermatitis": 358,
    "lupus erythematosus": 297,
    "sarcoidosis": 286,
    "neutrophilic dermatoses": 284,
    "photodermatoses": 272,
}
PUBLISHED_TEST = 40
WRONG = "3 Wrongly labelled"  # the value of `qc` with which a dermatologist rejected the label
HOW_TO = (
    "Fitzpatrick 17k: the table fitzpatrick17k.csv is at github.com/mattgroh/fitzpatrick17k. Its images are fetched\n"
    "from its url column, or given by the authors on request. Put the table into data/fitzpatrick17k/ and the images\n"
    "beside it or below it, each as <md5hash>.jpg."
)


def metadata(folder: Path) -> pd.DataFrame:
    """The table as published. Raises FileNotFoundError or ValueError naming the file, column and rows."""
    return match.read_csv(folder / "fitzpatrick17k.csv", COLUMNS, key="md5hash")


def rows(folder: Path, fst_annotator: str = "scale") -> pd.DataFrame:
    """Every row: image_id, file, condition, malignant, fst (-1 unknown), patient_id (''), lesion_id (''), label_flag,
    url, site (the url's host, '' where there is none), and fst_scale, fst_centaur, the skin type by either annotator.

    fst_annotator: 'scale' or 'centaur', whose skin type is taken. Raises ValueError for another one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lines = ",".join(COLUMNS), "a1b2,3,4,psoriasis,non-neoplastic,,https://x.org/1.jpg"
    ...     _ = Path(folder, "fitzpatrick17k.csv").write_text("\\n".join(lines))
    ...     rows(Path(folder))[["file", "condition", "fst", "fst_centaur"]].to_numpy().tolist()
    [['a1b2.jpg', 'psoriasis', 3, 4]]
    """
    if fst_annotator not in ("scale", "centaur"):
        raise ValueError(f"fst_annotator is {fst_annotator!r}; Fitzpatrick 17k has 'scale' and 'centaur'")
    frame = metadata(folder)
    columns = {
        "image_id": frame["md5hash"],
        "file": frame["md5hash"] + ".jpg",
        "condition": frame["label"].astype("str"),
        "malignant": frame["three_partition_label"] == "malignant",
        "fst": frame[f"fitzpatrick_{fst_annotator}"].fillna(-1).astype("int64"),
        "fst_scale": frame["fitzpatrick_scale"].fillna(-1).astype("int64"),
        "fst_centaur": frame["fitzpatrick_centaur"].fillna(-1).astype("int64"),
        "label_flag": frame["qc"].astype("str").fillna(""),
        "url": frame["url"].astype("str").fillna(""),
        "site": sites(frame["url"]),
    }
    return pd.DataFrame(match.NOT_RECORDED | columns)


def sites(urls: pd.Series) -> pd.Series:
    """The host of each address, without www; '' where there is none. Two dermatological atlases hold all images.

    >>> sites(pd.Series(["https://www.dermaamin.com/site/1.jpg", None])).tolist()
    ['dermaamin.com', '']
    """
    return urls.astype("str").str.extract(r"//(?:www\.)?([^/:]+)")[0].fillna("").astype("str")


def annotators(folder: Path) -> tuple[pd.Series, pd.Series]:
    """Skin types by Scale and by Centaur, one value a row of the table, -1 unknown."""
    frame = metadata(folder)
    return frame["fitzpatrick_scale"], frame["fitzpatrick_centaur"]


def faults(folder: Path) -> pd.DataFrame:
    """The table's known faults, over all its rows: fact, count, of."""
    frame = metadata(folder)
    counts = {
        "rows without a url": frame["url"].isna().sum(),
        "skin type unknown (Scale)": (frame["fitzpatrick_scale"] == -1).sum(),
        "skin type unknown (Centaur)": (frame["fitzpatrick_centaur"] == -1).sum(),
        "rows marked wrongly labelled": (frame["qc"] == WRONG).sum(),
        "rows with any quality mark": frame["qc"].notna().sum(),
    }
    return pd.DataFrame({"fact": list(counts), "count": [int(c) for c in counts.values()], "of": len(frame)})


def against_published(table: pd.DataFrame) -> pd.DataFrame:
    """Images per condition here and in the study, whose cleaning rule is not published: condition, here, published.

    >>> against_published(pd.DataFrame({"condition": ["sarcoidosis"] * 3})).iloc[[7]].to_numpy().tolist()
    [['sarcoidosis', 3, 326]]
    """
    here = table["condition"].value_counts()
    names = sorted({*here.index, *PUBLISHED_TRAINING})
    published = [PUBLISHED_TRAINING[n] + PUBLISHED_TEST if n in PUBLISHED_TRAINING else 0 for n in names]
    return pd.DataFrame({"condition": names, "here": [int(here.get(n, 0)) for n in names], "published": published})
