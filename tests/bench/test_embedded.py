"""Embeddings against limits at tiny size: well-formed rows, planted copies found, memory that was asked for is seen."""

import numpy as np
import pytest

from bench import embedded


def test_rows_are_well_formed_and_planted_copies_are_found():
    rows = embedded.against_limits(60, 200, 50, 16, seed=0)
    assert [row["work"] for row in rows] == ["kid_seconds_vs_limit", "kid_memory_vs_limit", "nearest_seconds_vs_limit"]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["peer"] / row["ours"]) and row["goal"] == 1
    assert "planted copies found: 100 %" in rows[2]["note"]


def test_memory_is_what_the_work_took_at_its_peak():
    def work():
        large = np.ones(2**21)  # 16 MiB, gone at the end
        return float(large.sum())

    found, seconds, memory = embedded.measured(work)
    assert found == 2**21 and seconds > 0 and 16 <= memory < 20
