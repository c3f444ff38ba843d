"""How far apart two sets of images lie: distances between samples of embeddings, and how diverse one sample is.

Each function takes float (n, d) arrays and nothing else. The work goes by blocks, so that memory does not
grow with n times m.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from skinsyn.run import seeds

__all__ = ["Mmd", "Prdc", "frechet", "kid", "nearest", "prdc", "rbf_mmd", "unit", "vendi"]

BLOCK = 2**24  # kernel values held at once
WORKING_MEMORY = 128  # MiB of distances held at once, for scikit-learn


class Mmd(NamedTuple):
    """A squared maximum mean discrepancy, its one-sided permutation p (NaN without draws), and the number of draws."""

    value: float
    p: float
    draws: int


class Prdc(NamedTuple):
    """Precision, recall, density and coverage. Density may exceed 1; the others are shares."""

    precision: float
    recall: float
    density: float
    coverage: float


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float64; a row of zeros stays.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    x = np.asarray(x, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _checked(x: np.ndarray, y: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Both samples as arrays. Raises ValueError for another shape, NaN, or fewer than `least` rows."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"expected two arrays (n, d) and (m, d) of embeddings, got {x.shape} and {y.shape}")
    if min(len(x), len(y)) < least:
        raise ValueError(f"expected at least {least} embeddings on each side, got {len(x)} and {len(y)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("embeddings hold NaN or infinity; see the flags of the synthetic images (03_generation)")
    return x, y


def _sums(
    x: np.ndarray, y: np.ndarray, kernel: Callable[[np.ndarray, slice], np.ndarray], sides: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """(s'Ks, 1'K1, 1'Ks) for each column s of sides (n + m, k), K the kernel of both samples together.

    kernel: the products of a block of rows with all rows, and which rows these are → the kernel's values.
    """
    pooled = np.concatenate([x, y]).astype(np.float32)
    inner, total, mixed, step = np.zeros(sides.shape[1]), 0.0, np.zeros(sides.shape[1]), max(1, BLOCK // len(pooled))
    for start in range(0, len(pooled), step):
        rows = slice(start, start + step)
        values = kernel((pooled[rows] @ pooled.T).astype(np.float64), rows)
        products = values @ sides
        inner += np.einsum("ij,ij->j", sides[rows], products)
        mixed += products.sum(0)
        total += values.sum()
    return inner, float(total), mixed


def kid(x: np.ndarray, y: np.ndarray, draws: int = 0, seed: int = 0) -> Mmd:
    """KID (Bińkowski et al. 2018, arXiv 1801.01401, section 4): unbiased MMD² under k(x, y) = (x'y / d + 1)³.

    x: (n, d), y: (m, d), of any embeddings. The estimator is MMD²_u of Gretton et al. 2012 (JMLR 13:723-773), eq. 3; it
    falls below zero by chance where nothing differs. draws: permutations of all rows, of which b reach the observed
    value: p = (1 + b) / (draws + 1). Raises ValueError on NaN, another shape or fewer than two rows.

    >>> x = np.random.default_rng(0).normal(size=(40, 8))
    >>> kid(x, x + 1, draws=99).p, kid(x[:20], x[20:], draws=99).p > 0.05
    (0.01, True)
    """
    x, y = _checked(x, y, 2)
    n, m = len(x), len(y)
    sides = np.zeros((n + m, draws + 1))
    sides[:n, 0] = 1
    rng = seeds.generator("kid", seed)
    for column in range(1, draws + 1):
        sides[rng.permutation(n + m)[:n], column] = 1

    def cubed(products: np.ndarray, rows: slice) -> np.ndarray:
        products /= x.shape[1]
        products += 1
        values = products * products * products
        # A row with itself is left out of the unbiased estimate.
        values[np.arange(len(values)), np.arange(len(values)) + rows.start] = 0
        return values

    inner, total, mixed = _sums(x, y, cubed, sides)
    across = mixed - inner
    value = inner / (n * (n - 1)) + (total - 2 * across - inner) / (m * (m - 1)) - 2 * across / (n * m)
    p = (1 + (value[1:] >= value[0] - 1e-12).sum()) / (draws + 1) if draws else float("nan")
    return Mmd(float(value[0]), float(p), draws)


def rbf_mmd(x: np.ndarray, y: np.ndarray, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (Jayasumana et al. 2024, arXiv 2401.09603, section 4): MMD² under exp(-|x - y|² / 2σ²), times `scale`.

    x: (n, d), y: (m, d), scaled to unit length; zero for equal samples. It is CMMD on CLIP embeddings, with the paper's
    σ and scale; on others it is not, and is not called so. Raises as `kid`, from one row on.

    >>> x = np.random.default_rng(0).normal(size=(40, 8))
    >>> abs(rbf_mmd(x, x)) < 1e-6, rbf_mmd(x, x + 1) > 1
    (True, True)
    """
    x, y = map(unit, _checked(x, y, 1))
    n, m = len(x), len(y)
    lengths = np.concatenate([(x**2).sum(1), (y**2).sum(1)])

    def gauss(products: np.ndarray, rows: slice) -> np.ndarray:
        return np.exp(-(lengths[rows, None] + lengths[None, :] - 2 * products) / (2 * sigma**2))

    inner, total, mixed = (float(np.sum(part)) for part in _sums(x, y, gauss, _first(n, m)))
    across = mixed - inner
    return scale * (inner / n**2 + (total - 2 * across - inner) / m**2 - 2 * across / (n * m))


def _first(n: int, m: int) -> np.ndarray:
    """(n + m, 1): 1 for the rows of the first sample."""
    return np.repeat([1.0, 0.0], [n, m])[:, None]


def prdc(real: np.ndarray, synthetic: np.ndarray, k: int = 5) -> Prdc:
    """Precision and recall (Kynkäänniemi et al. 2019, eq. 1-2), density and coverage (Naeem et al. 2020, section 3).

    real: X (n, d), synthetic: Y (m, d). B(X_i, NND_k(X_i)) is the ball around X_i with the Euclidean distance to its
    k-th nearest neighbour in X as radius. Precision: share of Y within any ball of X; recall: share of X within any
    ball of Y; density: mean number of balls of X around each Y_j, over k; coverage: share of X whose ball holds any
    Y_j. arXiv 1904.06991 and 2002.09797. Raises ValueError on NaN, another shape, or k not below both numbers of
    images.

    >>> x = np.random.default_rng(0).normal(size=(40, 8))
    >>> prdc(x, x + 100)
    Prdc(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    real, synthetic = _checked(real, synthetic, k + 1)
    around_real, around_synthetic = _radii(real, k), _radii(synthetic, k)
    covered_synthetic, within, recalled, covered, start = np.zeros(len(synthetic), bool), 0, 0, 0, 0
    for part in pairwise_distances_chunked(real, synthetic, working_memory=WORKING_MEMORY):
        radii = around_real[start : start + len(part)]
        inside = part < radii[:, None]
        covered_synthetic |= inside.any(0)
        within += int(inside.sum())
        recalled += int((part < around_synthetic).any(1).sum())
        covered += int((part.min(1) < radii).sum())
        start += len(part)
    n, m = len(real), len(synthetic)
    return Prdc(float(covered_synthetic.mean()), recalled / n, within / (k * m), covered / n)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Distance of each row to its k-th neighbour, itself not counted."""
    parts = pairwise_distances_chunked(
        x, working_memory=WORKING_MEMORY, reduce_func=lambda part, _: np.partition(part, k, axis=1)[:, k]
    )
    return np.concatenate(list(parts))


def nearest(queries: np.ndarray, pool: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(cosine similarity, row in pool), each (n, k), of the k most similar rows of pool (m, d) to each query (n, d).

    >>> similarity, row = nearest(np.array([[1.0, 0.1]]), np.array([[0.0, 1.0], [5.0, 0.5]]))
    >>> round(similarity.item(), 6), row.item()
    (1.0, 1)
    """
    queries, pool = _checked(queries, pool, 1)
    queries, pool = (unit(x).astype(np.float32) for x in (queries, pool))
    distance, place = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(pool).kneighbors(queries)
    return 1 - distance.astype(np.float64) ** 2 / 2, place


def vendi(x: np.ndarray) -> float:
    """The Vendi score (Friedman and Dieng 2023, arXiv 2210.02410, definition 3.1): exp(-Σ λ_i log λ_i).

    λ_i: the eigenvalues of K / n, with K the cosine similarities of x (n, d). It is an effective number of different
    images, from 1 (all alike) to n.

    >>> round(vendi(np.eye(4)), 6), round(vendi(np.ones((4, 4))), 6)
    (4.0, 1.0)
    """
    x = unit(_checked(x, x, 1)[0])
    small = x @ x.T if len(x) <= x.shape[1] else x.T @ x  # the same eigenvalues but for zeros
    values = np.linalg.eigvalsh(small / len(x))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Fréchet distance (Heusel et al. 2017, arXiv 1706.08500, eq. 6): |m - m_w|² + Tr(C + C_w - 2 (C C_w)^½).

    m, C and m_w, C_w: means and covariances (ddof 1) of x (n, d) and y (m, d). It is FID on the pool features of FID's
    own Inception weights alone; here it only describes, since its bias grows as n falls. The trace of the root is a sum
    of singular values, so that no root of a singular matrix is taken. Raises as `kid`.

    >>> x = np.random.default_rng(0).normal(size=(40, 2))
    >>> round(frechet(x, x + [3, 4]), 6)
    25.0
    """
    x, y = (part.astype(np.float64) for part in _checked(x, y, 2))
    factors = [np.linalg.qr(part - part.mean(0), mode="r") / np.sqrt(len(part) - 1) for part in (x, y)]
    spread = sum(float((factor**2).sum()) for factor in factors)
    root = float(np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum())
    return float(((x.mean(0) - y.mean(0)) ** 2).sum()) + spread - 2 * root
