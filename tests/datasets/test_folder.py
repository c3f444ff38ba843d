"""One's own table: every way to write it that people use, and a clear word where it cannot be read."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from skinsyn.datasets import folder, table
from skinsyn.run import files


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A data folder, and six photographs of noise in two subfolders of another place."""
    monkeypatch.setenv("SKINSYN_DATA", str(tmp_path / "data"))
    for n in range(6):
        file = tmp_path / "photos" / "ab"[n % 2] / f"IMG {n}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(n).integers(0, 255, (20, 20, 3), np.uint8)).save(file)
    return tmp_path


def describe(place, text: str, **changed) -> dict:
    """Write the table and a description of it; returns the description."""
    (place / "table.csv").write_text(text, encoding="utf-8")
    columns = {
        "image": "file",
        "condition": "dx",
        "fst": "skin",
        "patient": "who",
        "lesion": "spot",
        "malignant": "bad",
    }
    columns = {role: name for role, name in columns.items() if name in text.partition("\n")[0]}
    given = {
        "images": str(place / "photos"),
        "table": str(place / "table.csv"),
        "separator": ",",
        "encoding": "utf-8-sig",
    }
    given |= {"columns": columns, "rename": {}, "malignant": []} | changed
    (place / "data/mine").mkdir(parents=True, exist_ok=True)
    (place / "data/mine/dataset.yml").write_text(yaml.safe_dump(given))
    return given


WHOLE = """file,dx,skin,who,spot,bad
IMG 0.jpg,nevus,2,p1,1,no
b/IMG 1,mole cancer,VI,p2,1,yes
.\\a\\IMG 2.JPG,nevus,type iv,p1,,0
C:\\old\\photos\\b\\IMG 3.jpg,mole cancer,3.0,p1,2,Malignant
IMG 9.jpg,nevus,unknown,,,benign
a/IMG 5.jpg,nevus,,p3,,FALSE
"""


def test_a_table_of_all_manners_is_read(place):
    describe(place, WHOLE)
    root = table.find("mine", "")
    rows, left_out = table.load("mine", root, ["nevus", "mole cancer"])
    assert rows.set_index("image_id")["path"].to_dict() == {
        "IMG_0": "a/IMG 0.jpg", "b_IMG_1": "b/IMG 1.jpg", "a_IMG_2": "a/IMG 2.jpg",
        "C__old_photos_b_IMG_3": "b/IMG 3.jpg",
    }  # fmt: skip
    about = rows.set_index("image_id")
    assert about["fst"].to_dict() == {"IMG_0": 2, "b_IMG_1": 6, "a_IMG_2": 4, "C__old_photos_b_IMG_3": 3}
    assert about["malignant"].tolist() == [name == "mole cancer" for name in about["condition"]]
    assert set(about["source"]) == {"mine"}
    # A lesion's number counts for its patient alone; a photograph of the other folder is not taken for another's.
    assert about["lesion_id"].to_dict() == {
        "IMG_0": "p1/1", "b_IMG_1": "p2/1", "a_IMG_2": "", "C__old_photos_b_IMG_3": "p1/2",
    }  # fmt: skip
    reasons = left_out.groupby("stage")["image_id"].apply(list).to_dict()
    assert reasons == {"files": ["a/IMG 4.jpg", "b/IMG 5.jpg"], "images": ["IMG_9", "a_IMG_5"]}


def test_other_separators_marks_and_quotes(place):
    for separator in ",;\t|":
        text = WHOLE.replace(",", separator).replace("nevus", f'"ne{separator}vus"')
        (place / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        frame, found = folder.read_table(place / "t.csv")
        assert found == separator and frame["dx"][0] == f"ne{separator}vus" and list(frame)[0] == "file"
    (place / "t.csv").write_text('file,dx\n"a\nb.jpg",x\n')
    assert folder.read_table(place / "t.csv")[0]["file"].tolist() == ["a\nb.jpg"]
    (place / "t.csv").write_bytes("file,dx\na.jpg,Lichen plané\n".encode("cp1252"))
    assert folder.read_table(place / "t.csv", encoding="cp1252")[0]["dx"][0] == "Lichen plané"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,dx,skin\na.jpg,x,7\nb.jpg,x,7\n", r"skin type, 2 rows: '7' \(row of a.jpg\); expected 1 to 6, I to VI"),
        ("file,dx,bad\na.jpg,x,perhaps\n", r"bad, 1 rows: 'perhaps' \(row of a.jpg\); expected 1 or 0"),
        ("file,dx\na.jpg,x\na.jpg,y\n", r"'a.jpg' stands in several rows of file"),
        ("file,dx\na.jpg,x\n,y\n", r"file is empty in row 3"),
        ("file,dx\na.jpg,x\nb.jpg\n", r"row 3 has 1 cells, 2 are named"),
        ("file,dx\na.jpg,x\nb.jpg,x,y\n", r"row 3 has 3 cells, 2 are named"),
        ("file,dx,dx\na.jpg,x,y\n", r"the column 'dx' stands twice"),
        ("file,dx\n", r"at least one row; found 1 lines"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_row(place, text, told):
    given = describe(place, text)
    with pytest.raises(ValueError, match=told) as error:
        folder.rows(folder.Description.read(given))
    assert "table.csv" in str(error.value) or "skin type" in told


def test_a_wrong_encoding_or_column_is_named(place):
    given = describe(place, "file,dx\na.jpg,x\n")
    (place / "table.csv").write_bytes(b"file,dx\na.jpg,Lichen plan\xe9\n")
    with pytest.raises(ValueError, match="not utf-8-sig at byte 25; save it as CSV UTF-8, or give --encoding"):
        folder.rows(folder.Description.read(given))
    with pytest.raises(ValueError, match="no encoding is called 'klingon'"):
        folder.rows(folder.Description.read(given | {"encoding": "klingon"}))
    with pytest.raises(ValueError, match="no column 'diagnosis'; it has file, dx"):
        changed = {"encoding": "cp1252", "columns": {"image": "file", "condition": "diagnosis"}}
        folder.rows(folder.Description.read(given | changed))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1", "not YAML"),
        ("images: x", "expected the keys columns, encoding, images"),
        ({"columns": {"image": "file"}}, "expected image, condition"),
        ({"columns": {"image": "file", "condition": "dx", "colour": "x"}}, "expected image, condition"),
        ({"rename": []}, r"rename is \[\], expected dict"),
    ],
)
def test_a_damaged_description_is_named(place, content, told):
    given = describe(place, "file,dx\na.jpg,x\n")
    text = content if isinstance(content, str) else yaml.safe_dump(given | content)
    (place / "data/mine/dataset.yml").write_text(text)
    with pytest.raises(ValueError, match=told) as error:
        table.find("mine", "")
    assert "dataset.yml" in str(error.value)


def test_an_unknown_data_set_says_how_to_make_it_known(place):
    with pytest.raises(ValueError, match=r"(?s)'mime' is not known; nearest.*python -m skinsyn init mime --images"):
        table.find("mime", "")
    given = describe(place, "file,dx\na.jpg,x\n", images=str(place / "gone"))
    with pytest.raises((FileNotFoundError, ValueError), match="the photographs of mine are gone"):
        table.find("mine", "")
    assert folder.describe("mine").json() == given


def test_table_and_description_count_as_inputs(place, monkeypatch):
    describe(place, WHOLE)
    seen = []
    monkeypatch.setattr(files, "log_access", lambda kind, path: seen.append((kind, path.name)))
    table.load("mine", table.find("mine", ""), ["nevus", "mole cancer"])
    assert {("read", "dataset.yml"), ("read", "table.csv")} <= set(seen)


def test_two_photographs_that_fit_equally_well_are_none():
    images = ["a/x.jpg", "b/x.jpg", "c/y.jpg", "c/y.png", "z.jpg"]
    asked = ["x.jpg", "b/x", "c/y.png", "y", "d/z.jpg", "x.y/z"]
    assert folder.match_rows(asked, images)[0] == ["", "b/x.jpg", "c/y.png", "", "z.jpg", "z.jpg"]


parts = st.text(st.sampled_from("ab. -_é"), min_size=1, max_size=6)
names = st.builds(lambda *p: "/".join(p), parts, parts).map(lambda name: name + ".jpg")


@given(st.lists(names, min_size=1, max_size=12, unique=True))
def test_ids_are_safe_and_differ_whatever_the_files_are_called(given_names):
    ids = folder._safe_ids(pd.Series(given_names))
    assert len({i.lower() for i in ids}) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,200}", i) for i in ids)


places = st.builds("{}/{}.{}".format, *map(st.sampled_from, ("abc", ("a", "b", "ab"), ("jpg", "png"))))


@given(st.lists(places, min_size=1, max_size=15, unique=True))
def test_every_photograph_is_found_by_its_own_path(images):
    found, lonely = folder.match_rows(images, images)
    assert found == images and lonely == []
    by_name = folder.match_rows([image.rpartition("/")[2] for image in images], images)[0]
    assert all(
        path == "" or path.rpartition("/")[2] == image.rpartition("/")[2]
        for path, image in zip(by_name, images, strict=True)
    )
