"""The reader study: can people tell real from synthetic? The page with the questions, and the analysis of the answers.

The page holds images and opaque ids. What they are stands in a key beside it, which readers must not get.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
import pandas as pd
from PIL import Image
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from skinsyn.images import pictures
from skinsyn.run import files, paths, seeds, tables
from skinsyn.stats import auroc, mrmc

__all__ = ["Study", "agreement", "analyse", "choose", "find", "make", "page", "read"]

ASSETS = Path(__file__).parents[1] / "assets" / "reader_study"
KINDS = ("real", "synthetic")
ANSWERS = ("study", "reader", "item", "kind", "condition", "realism")
SIDE = 320  # pixels on the page; all images are enlarged alike, so that none is told by its size


class Study(NamedTuple):
    """Answers of readers: key (item, image_id, kind, condition, cluster_id …), answers (ANSWERS), readers in order."""

    key: pd.DataFrame
    answers: pd.DataFrame
    readers: list[str]


def choose(images: pd.DataFrame, synthetic: pd.DataFrame, number: int, seed: int) -> pd.DataFrame:
    """The key: `number` images, half of them synthetic, balanced over conditions, in random order.

    images: real ones, of which the test images are shown, so that nobody is asked to tell an image from its own source.
    synthetic: those without a flag are shown. Returns item (an opaque id), kind, image_id, condition, method,
    generator, fst_group, cluster_id, unit, row. Raises ValueError where there are not enough of a kind.

    >>> images = pd.DataFrame({"image_id": ["r", "s"], "split": ["test", "train"], "cluster_id": ["x", "y"]})
    >>> images = images.assign(condition="target", fst_group="I-II", unit="u", row=0)
    >>> synthetic = images.tail(1).assign(image_id="t", parent="s", method="text", generator="base", flags="")
    >>> sorted(choose(images, synthetic, 2, 0)[["kind", "image_id"]].to_numpy().tolist())
    [['real', 'r'], ['synthetic', 't']]
    """
    columns = ["image_id", "condition", "method", "generator", "fst_group", "cluster_id", "unit", "row"]
    clusters = images.set_index("image_id")["cluster_id"]
    real = images[images["split"] == "test"].assign(method="", generator="")
    generated = synthetic[synthetic["flags"] == ""].assign(
        cluster_id=lambda t: clusters.reindex(t["parent"]).to_numpy()
    )
    parts, wanted = [], number // 2
    for kind, frame in zip(KINDS, (real, generated), strict=True):
        chance = frame["image_id"].map(lambda name: seeds.seed_of("reader study", seed, name))
        turn = frame.assign(chance=chance).sort_values("chance")
        turn["turn"] = turn.groupby(["condition", "method", "generator"]).cumcount()
        chosen = turn.sort_values(["turn", "chance"]).head(wanted)
        if len(chosen) < wanted:
            raise ValueError(f"{wanted} {kind} images were asked for and there are {len(chosen)}; ask for fewer")
        parts.append(chosen[columns].assign(kind=kind))
    key = pd.concat(parts, ignore_index=True)
    key["item"] = [seeds.digest("reader study item", seed, name)[:12] for name in key["image_id"]]
    return key.sort_values("item", ignore_index=True)[["item", "kind", *columns]]


def _picture(pixels: np.ndarray) -> str:
    """A `data:` URI: lossless, enlarged, without metadata."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    image.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def page(key: pd.DataFrame, pictures: Sequence[np.ndarray], note: str = "") -> str:
    """The page as one HTML file that needs nothing else. pictures: uint8 (s, s, 3), in the key's order."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined
    )
    items = [{"item": item, "image": _picture(one)} for item, one in zip(key["item"], pictures, strict=True)]
    return environment.get_template("page.html.j2").render(
        title="Real or synthetic?",
        note=note,
        study=_name(key),
        items=items,
        conditions=sorted(key["condition"].unique()),
    )


def _name(key: pd.DataFrame) -> str:
    """Which study: a digest of its items, so that answers to another one are not mixed in."""
    return seeds.digest(list(key["item"]))[:12]


def make(profile: str, number: int = 40, seed: int = 0) -> Path:
    """Write page.html and key.csv into runs/<profile>/reader_study. Raises FileNotFoundError, ValueError."""
    images = tables.read(profile, "images", made_by="01_data_prep")
    synthetic = tables.read(profile, "synthetic", made_by="03_generation")
    key = choose(images, synthetic, number, seed)
    note = "The images are phantoms, drawn by a program: no patients." if (images["source"] == "phantom").all() else ""
    folder = paths.run_dir(profile) / "reader_study"
    with files.atomic(folder / "key.csv") as temporary:
        key.assign(study=_name(key)).to_csv(temporary, index=False, lineterminator="\n")
    with files.atomic(folder / "page.html") as temporary:
        temporary.write_text(page(key, pictures(key), note))
    return folder / "page.html"


def find(profile: str, folder: str = "") -> Study | None:
    """The answers to a run's reader study, None where there are none; that they are absent is an input as well.

    folder: of the readers' CSV files; '' is runs/<profile>/reader_study/answers. Raises as `read`, and
    FileNotFoundError where a folder that was named does not exist.
    """
    home = paths.run_dir(profile) / "reader_study"
    answers = paths.resolve(folder) if folder else home / "answers"
    for place in (home / "key.csv", answers):
        files.log_access("read", place)
    return read(home / "key.csv", answers) if folder or answers.exists() else None


def read(key_file: Path, folder: Path) -> Study:
    """The key and the answers of every `*.csv` in `folder` (but the key), checked.

    Raises FileNotFoundError, ValueError naming file and row where answers are not to this study, incomplete or doubled.
    """
    if not key_file.exists():
        raise FileNotFoundError(f"{key_file}: the key of the reader study is missing; it was written with its page")
    key = pd.read_csv(key_file, dtype=str, keep_default_na=False)
    csv_files = sorted(file for file in folder.glob("*.csv") if file.resolve() != key_file.resolve())
    if not csv_files:
        raise FileNotFoundError(f"no CSV of a reader in {folder}; the page saves one for each reader")
    parts = [_answers(file, key) for file in csv_files]
    answers = pd.concat(parts, ignore_index=True)
    readers = [part["reader"].iloc[0] for part in parts]
    duplicates = {name for name in readers if readers.count(name) > 1}
    if duplicates:
        raise ValueError(
            f"{folder}: two files of the reader {min(duplicates)!r}; keep one, or rename a reader in the file"
        )
    return Study(key, answers, readers)


def _answers(file: Path, key: pd.DataFrame) -> pd.DataFrame:
    """One reader's answers in the key's order. Raises ValueError naming the file."""
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    if lacking := [name for name in ANSWERS if name not in frame]:
        raise ValueError(f"{file}: no column {lacking[0]!r}; expected the file as the page saved it")
    study = key["study"].iloc[0]
    if strange := sorted(set(frame["study"]) - {study}):
        raise ValueError(
            f"{file}: answers to the study {strange[0]}, the key is of {study}; they belong to another page"
        )
    if frame["reader"].nunique() != 1:
        raise ValueError(f"{file}: {frame['reader'].nunique()} readers; expected one in a file")
    if sorted(frame["item"]) != sorted(key["item"]):
        raise ValueError(
            f"{file}: {frame['item'].nunique()} of {len(key)} items answered, each once; every reader answers all"
        )
    scores = ["1", "2", "3", "4", "5"]
    for row, (kind, realism) in enumerate(zip(frame["kind"], frame["realism"], strict=True), 2):
        if kind not in KINDS or realism not in scores:
            raise ValueError(f"{file}, line {row}: kind {kind!r}, realism {realism!r}; expected {KINDS} and 1 to 5")
    frame = frame.set_index("item").loc[key["item"]].reset_index()
    return frame[list(ANSWERS)].astype({"realism": int})


def _table(study: Study, column: str) -> np.ndarray:
    """(readers, items) of the answers in one column, items in the key's order."""
    return np.stack([part[column].to_numpy() for _, part in study.answers.groupby("reader", sort=False)])


def analyse(study: Study, level: float = 0.95) -> pd.DataFrame:
    """What readers can tell, readers and images both random: measure, estimate, low, high, p, readers, images, flags.

    accuracy: of real against synthetic, tested against one half (images of one patient or source are one cluster).
    auroc: of the 1-5 photorealism for telling real from synthetic, tested against one half by Obuchowski and Rockette's
    variance, clusters after Obuchowski 1997 (a second treatment of equal scores has AUROC one half and no variance).
    condition, real and condition, synthetic: share in which the condition was named, tested against a guess among all
    of them. Degrees of freedom are Hillis's, as in published reader studies.
    """
    truth = study.key["kind"].to_numpy()
    right = (_table(study, "kind") == truth).astype(float)
    realism = _table(study, "realism").astype(float)
    condition_right = (_table(study, "condition") == study.key["condition"].to_numpy()).astype(float)
    guess, clusters, ones = 1 / study.key["condition"].nunique(), study.key["cluster_id"].to_numpy(), np.ones_like
    rows = [("accuracy", 0.5, mrmc.gain_from_images(right, 0.5 * ones(right), clusters, level=level, df="hillis"))]
    scores = np.stack([realism, np.zeros_like(realism)])
    _, area = auroc.gain((truth == "real").astype(int), scores, clusters, level, df="hillis")
    rows.append(("auroc", 0.5, area))
    for kind in KINDS:
        part = condition_right[:, truth == kind]
        gain = mrmc.gain_from_images(part, guess * ones(part), clusters[truth == kind], level=level, df="hillis")
        rows.append((f"condition, {kind}", guess, gain))
    records = []
    for name, chance, gain in rows:
        row = {
            "measure": name,
            "estimate": gain.estimate + chance,
            "low": gain.low + chance,
            "high": gain.high + chance,
        }
        row |= {"chance": chance, "p": gain.p, "readers": gain.runs, "clusters": gain.clusters}
        records.append(row | {"flags": "; ".join(gain.flags)})
    return pd.DataFrame(records)


def agreement(study: Study) -> pd.DataFrame:
    """Fleiss' kappa among readers, for each question: question, kappa, readers, images; NaN with one reader.

    Source: Fleiss 1971, by statsmodels. Where all give the same answer to all images kappa is not defined: NaN.

    >>> key = pd.DataFrame({"item": ["1", "2"]})
    >>> one = key.assign(reader="a", kind=["real", "synthetic"], condition="target", realism=[5, 1])
    >>> agreement(Study(key, pd.concat([one, one.assign(reader="b")]), ["a", "b"]))["kappa"].tolist()
    [1.0, nan, 1.0]
    """
    rows = []
    for question in ("kind", "condition", "realism"):
        answers, kappa = _table(study, question), float("nan")
        if len(answers) > 1 and len(np.unique(answers)) > 1:
            codes = pd.factorize(answers.ravel(), sort=True)[0].reshape(answers.shape)
            kappa = float(fleiss_kappa(aggregate_raters(codes.T)[0]))
        rows.append({"question": question, "kappa": kappa, "readers": len(answers), "images": answers.shape[1]})
    return pd.DataFrame(rows)
