"""Distances between many embeddings, held against limits: seconds and memory that a laptop has."""

import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from skinsyn.fidelity import distributions

from . import ratios

__all__ = ["against_limits", "measured"]

SECONDS, MEBIBYTES = 60, 2048  # the limits, which stand where other rows have a peer


def measured(work: Callable[[], object]) -> tuple[object, float, float]:
    """What `work` returns, its seconds, and the most memory that its arrays took at once beyond those there before, in
    MiB.

    The memory is Python's and NumPy's own (tracemalloc), without what BLAS keeps for itself.
    """
    tracemalloc.start()
    try:
        begun = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - begun
        return found, seconds, tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def against_limits(sample: int, queries: int, pool: int, dimensions: int, seed: int) -> list[dict]:
    """Rows `kid_seconds`, `kid_memory` and `nearest_seconds`: invented embeddings, one run each, against the limits.

    sample: embeddings on each side of the kernel distance. queries, pool: of the nearest neighbours. Every tenth query
    is a copy of a row of the pool, with a little noise, and must be found.
    """
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal((sample, dimensions), dtype=np.float32) for _ in range(2))
    found, seconds, memory = measured(lambda: distributions.kid(x, y))
    note = f"{sample} × {sample} embeddings of {dimensions}, limit in place of a peer; their distance {found.value:.3g}"
    rows = [
        ratios.row("kid_seconds_vs_limit", "s", seconds, SECONDS, 1, note),
        ratios.row("kid_memory_vs_limit", "MiB", memory, MEBIBYTES, 1, note),
    ]
    pool_rows = rng.standard_normal((pool, dimensions), dtype=np.float32)
    asked = rng.standard_normal((queries, dimensions), dtype=np.float32)
    planted = np.arange(0, queries, 10)
    asked[planted] = 0.1 * asked[planted] + pool_rows[planted % pool]
    (_, place), seconds, memory = measured(lambda: distributions.nearest(asked, pool_rows))
    right = (place[planted, 0] == planted % pool).mean()
    note = (
        f"{queries} embeddings of {dimensions} against {pool}, limit in place of a peer; arrays of {memory:.0f} MiB; "
    )
    note += f"planted copies found: {100 * right:.0f} %"
    return [*rows, ratios.row("nearest_seconds_vs_limit", "s", seconds, SECONDS, 1, note)]
