"""The books of a study balance at any scale."""

import pytest

from bench import full_scale


def test_the_books_of_a_small_study_balance():
    found = full_scale.run(limit=3, entries=[{**entry, "replicates": 1} for entry in full_scale.PLAN])
    assert found["images"] == 30 * 7 + 20 and found["sources"] == 30 and found["shards"] == 10 * 8


@pytest.mark.slow
def test_the_books_of_the_whole_study_balance():
    found = full_scale.run()
    print(found)
    assert found["images"] == full_scale.IMAGES and found["sources"] == 3530
