"""Gene-relation clustering: genes into modules of nearly equal size, by embedding and PPI."""

from __future__ import annotations

import warnings

import numpy as np
import ot
import scipy.sparse as sp
from numba import njit
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from scbig_dist.config import GRCConfig
from scbig_dist.errors import UserError

MAX_ITERATIONS = 1000
TOLERANCE = 1e-9
MISSING_SD = 0.1  # of the vectors given to genes without one
N_SPECTRAL = 64  # components of the start from PPI alone


def cluster_genes(
    n_genes: int,
    embedding: np.ndarray | None,
    found: np.ndarray | None,
    adjacency: sp.csr_matrix | sp.csr_array | None,
    config: GRCConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """The module of every gene, int64 (gene,), labels in 0…K−1.

    `embedding` (gene, e) with `found` (gene,) false where a gene has no vector;
    `adjacency` (gene, gene) boolean symmetric. A missing one drops its term. Only
    `kmeans` is unbalanced: it may leave modules of any size, 0 included.
    """
    k = config.n_modules
    if k > n_genes:
        raise UserError(f"grc.n_modules={k} is above the panel's {n_genes} genes; lower it or raise panel.n_hvg")
    if config.clustering in ("none", "random"):
        labels = np.repeat(np.arange(k), _capacities(np.zeros(k), n_genes))
        return labels if config.clustering == "none" else rng.permutation(labels)
    if embedding is None and adjacency is None:
        raise UserError(
            f"grc.clustering={config.clustering} has neither gene embedding nor PPI; "
            "give priors.gene_embedding or priors.ppi, or set grc.clustering=none or random"
        )
    if embedding is not None:
        vectors = _unit(_fill_missing(embedding, found, rng))
    else:
        vectors = _unit(_spectral(sp.csr_array(adjacency), k, rng))
    start = _kmeans(vectors, k, rng)
    if config.clustering == "kmeans":
        return start
    capacities = _capacities(np.bincount(start, minlength=k), n_genes)
    if config.clustering == "kmeans_balanced":
        return _round(-_distances(vectors, start, k), capacities)
    semantic = config.w_semantic if embedding is not None else 0.0
    interaction = config.w_ppi if adjacency is not None else 0.0
    if semantic + interaction == 0:
        raise UserError(
            "grc.w_semantic and grc.w_ppi leave no term whose prior is given; "
            "raise one of them or set grc.clustering=kmeans_balanced"
        )
    labels = start
    for _ in range(config.n_iterations):
        cost = np.zeros((n_genes, k))
        if semantic:
            cost += semantic * _distances(vectors, labels, k)
        if interaction:
            cost += interaction * _missing_interactions(sp.csr_array(adjacency), labels, k)
        plan = _transport(cost, capacities, config.epsilon)
        labels = _round(plan, capacities)
    if config.clustering == "soft":
        # Ours: the Gumbel trick draws from plan^(1/temperature), then the capacities are kept as ever.
        scores = np.log(np.maximum(plan, 1e-300)) + config.temperature * rng.gumbel(size=plan.shape)
        labels = _round(scores, capacities)
    return labels


def _capacities(sizes: np.ndarray, n_genes: int) -> np.ndarray:
    """G//K places each, one more for the G%K modules that are largest so far (ties: lower label)."""
    k = len(sizes)
    capacities = np.full(k, n_genes // k)
    capacities[np.argsort(-sizes, kind="stable")[: n_genes % k]] += 1
    return capacities


def _fill_missing(embedding: np.ndarray, found: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    vectors = np.array(embedding, dtype=np.float32)
    assert np.isfinite(vectors).all(), "embedding is not finite"
    missing = ~vectors.any(1) if found is None else ~found | ~vectors.any(1)
    vectors[missing] = rng.normal(0, MISSING_SD, (int(missing.sum()), vectors.shape[1]))
    return vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _spectral(adjacency: sp.csr_array, k: int, rng: np.random.Generator) -> np.ndarray:
    """Leading eigenvectors of the normalised PPI graph, where k-means starts from PPI alone."""
    n_genes = adjacency.shape[0]
    degree = np.asarray(adjacency.astype(np.float64).sum(1)).ravel()
    scale = sp.diags_array(1 / np.sqrt(np.maximum(degree, 1)))
    graph = scale @ adjacency.astype(np.float64) @ scale
    n_components = min(max(k, 2), N_SPECTRAL, n_genes)
    if n_components >= n_genes // 2:  # Lanczos needs room; a panel this small is quick as it is
        vectors = np.linalg.eigh(graph.toarray())[1][:, -n_components:]
    else:
        vectors = eigsh(graph, k=n_components, which="LA", v0=rng.standard_normal(n_genes))[1]
    return _fill_missing(vectors, degree > 0, rng)


def _kmeans(vectors: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    model = KMeans(k, n_init=10, random_state=int(rng.integers(2**31)))
    # k-means++ makes many small products, which BLAS threads slow down tenfold on a busy machine;
    # Lloyd's iterations have threads of their own.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # Fewer distinct vectors than modules: the balanced rounding mends it.
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        return model.fit_predict(vectors.astype(np.float32)).astype(np.int64)


def _distances(vectors: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Cosine distance (gene, module) to the modules' mean directions ÷ its maximum."""
    members = sp.csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(k, len(labels)))
    centroids = _unit(members @ vectors)
    distance = np.maximum(1 - vectors.astype(np.float64) @ centroids.T, 0)
    return distance / max(distance.max(), 1e-12)


def _missing_interactions(adjacency: sp.csr_array, labels: np.ndarray, k: int) -> np.ndarray:
    """1 − (PPI neighbours of a gene in a module)/(its size), 1 for an empty module; (gene, module)."""
    one_hot = sp.csr_array((np.ones(len(labels)), (np.arange(len(labels)), labels)), shape=(len(labels), k))
    neighbours = (adjacency.astype(np.float64) @ one_hot).toarray()
    return np.clip(1 - neighbours / np.maximum(np.bincount(labels, minlength=k), 1), 0, 1)


def _transport(cost: np.ndarray, capacities: np.ndarray, epsilon: float) -> np.ndarray:
    """The entropic plan from genes (1/G each) to modules (capacity/G)."""
    n_genes = len(cost)
    genes, modules = np.full(n_genes, 1 / n_genes), capacities / n_genes
    settings = {"numItermax": MAX_ITERATIONS, "stopThr": TOLERANCE, "warn": False}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what they say is checked below
        plan = ot.sinkhorn(genes, modules, cost, epsilon, **settings)
        # POT backs out of an underflow with the last finite plan, which may be far from the marginals.
        if not np.isfinite(plan).all() or np.abs(plan.sum(1) - genes).sum() > 1e-2:
            plan = ot.sinkhorn(genes, modules, cost, epsilon, method="sinkhorn_log", **settings)
    return plan


def _round(scores: np.ndarray, capacities: np.ndarray) -> np.ndarray:
    """Every gene into one module: the highest scores first, while the module has a place."""
    order = np.argsort(-scores, axis=None, kind="stable")
    return _fill(order, capacities.astype(np.int64), scores.shape[0])


@njit(cache=True)
def _fill(order: np.ndarray, capacities: np.ndarray, n_genes: int) -> np.ndarray:
    k = len(capacities)
    free = capacities.copy()
    labels = np.full(n_genes, -1, dtype=np.int64)
    left = n_genes
    for place in order:
        gene, module = place // k, place % k
        if labels[gene] < 0 and free[module] > 0:
            labels[gene] = module
            free[module] -= 1
            left -= 1
            if left == 0:
                break
    return labels
