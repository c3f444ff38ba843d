"""The crossed layout: at the smallest size every source has its share, and a second call gives the same table."""

import pytest

from bench import crossed


@pytest.mark.slow
def test_the_layout_separates_generator_subset_and_seed_twice_the_same(own_runs):
    size = crossed.Size(2, 2, 2, conditions=2, train=4, n=2, held=6, ratio=1, steps=2, sampling_steps=2)
    table = crossed.run(size)
    whole = table[table["layout"] == "crossed"]
    assert whole["part"].tolist() == ["generator", "subset", "generator × subset", "seed", "images"]
    assert (table["models"] == 8).all() and (table["source"] == "phantom").all()
    assert table["flags"].str.contains("not varied: generator").any()
    assert crossed.run(size).equals(table)
