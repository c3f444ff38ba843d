"""The audit lets a true claim pass, stops a false one, and counts a parent's pixels as seen."""

import pandas as pd
import pytest

from skinsyn.classifier import arms, leakage

IMAGES = pd.DataFrame({"image_id": list("abcdvt"), "split": ["train"] * 4 + ["validation", "test"]})
SUBSETS = {0: pd.DataFrame({"run": 0, "image_id": list("abcd"), "rank": [0, 1, 2, 3]})}


def cell(claim, n=2):
    return arms.Cell(arm=f"arm of {claim}", n=n, sources=n, generator_data=claim)


def audit(claim, saw, method="text-to-image", parent="a"):
    made = pd.DataFrame(
        {"image_id": ["s1", "s2"], "parent": [parent, "a"], "method": method, "saw": ["x" * bool(saw), ""]}
    )
    exposure = pd.DataFrame({"saw": "x", "image_id": list(saw)})
    return leakage.audit([(cell(claim), ["a", "b", "s1", "s2"])], made, exposure, IMAGES, SUBSETS)


@pytest.mark.parametrize(
    "claim, saw, holds",
    [
        ("any", "abcdv", True), ("any", "at", False), ("all", "abv", True), ("all", "t", False), ("train", "abcd",
        True),
        ("train", "av", False), ("matched", "ab", True), ("matched", "abc", False), ("any", "", True),
    ],
)  # fmt: skip
def test_claims_are_held_against_what_was_seen(claim, saw, holds):
    if holds:
        found = audit(claim, saw)
        assert found[["arm", "seen", "own"]].to_numpy().tolist() == [[f"arm of {claim}", len(saw), 2]]
    else:
        with pytest.raises(leakage.LeakageError, match=rf"arm of {claim}, run 0: 1 images?, first"):
            audit(claim, saw)


def test_a_parents_pixels_count_where_the_method_takes_them():
    audit("matched", "ab", parent="d")
    with pytest.raises(leakage.LeakageError, match="first 'd'"):
        audit("matched", "ab", method="inpaint", parent="d")


def test_what_nobody_says_was_seen_is_no_proof():
    made = pd.DataFrame({"image_id": ["s1"], "parent": "a", "method": "text-to-image", "saw": "y"})
    exposure = pd.DataFrame({"saw": ["x"], "image_id": ["a"]})
    with pytest.raises(ValueError, match="does not say what 'y' saw"):
        leakage.audit([(cell("any"), ["s1"])], made, exposure, IMAGES, SUBSETS)


def test_images_from_elsewhere_are_no_leak():
    audit("matched", "ab!")


def test_without_synthetic_images_there_is_nothing_to_audit():
    found = leakage.audit(
        [], pd.DataFrame({"image_id": [], "saw": []}), pd.DataFrame({"saw": [], "image_id": []}), IMAGES, SUBSETS
    )
    assert found.empty and list(found.columns) == ["arm", "claim", "runs", "generators", "seen", "own"]


def test_an_arm_names_its_claim():
    found = arms.cells([{"n": 2, "ratios": 1, "method": "text-to-image", "generator_data": ["any", "matched"]}], runs=1)
    assert [c.arm.endswith("generator data matched") for c in found] == [False, True]
    with pytest.raises(ValueError, match="generator_data"):
        arms.cells([{"n": 2, "generator_data": "own"}], runs=1)
