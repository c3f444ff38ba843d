"""Fidelity of synthetic images: embeddings, distances to real images, memorisation, diversity and skin tone."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

MODEL = ["method", "generator", "scope"]  # the columns that name a model of synthetic images


def groups(rows: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict, np.ndarray]]:
    """Each group of the rows in sorted order: its labels (column → value), and the places of its rows.

    >>> rows = pd.DataFrame({"method": ["text", "inpaint", "text"], "fst": [2, 1, 2]})
    >>> [(labels, places.tolist()) for labels, places in groups(rows, ["method"])]
    [({'method': 'inpaint'}, [1]), ({'method': 'text'}, [0, 2])]
    """
    for key, places in rows.groupby(list(by), sort=True).indices.items():
        yield dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True)), places
