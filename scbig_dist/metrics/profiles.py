"""Scores of predicted mean profiles against true ones (SPEC: section 6), one value per condition.

Profiles are mean log-normalised expression, (condition, gene). `control` is the mean
profile of control cells, (gene,), or (condition, gene) where conditions lie in several
contexts. A shift is a profile minus its control. What is undefined is NaN, never 0.

cell-eval 0.8 takes predicted shifts from the prediction file's own control cells and refuses
negative values; with the same control cells in both files and values clamped at 0
(`scbig evaluate --cell-eval`) its `pearson_delta`, `mse` and `mae` are the ones here, in
float32. It averages over conditions only what did not fail, without a count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from scbig_dist.metrics.jit import jit

Array = NDArray[np.float64]

N_TOP = 20
MIN_SIGNIFICANT = 5
LFC_PSEUDOCOUNT = 1e-9
# Rounding of a mean of float32 expression; a shift this small everywhere is no shift.
_ROUNDING = 1e-6


def top_genes(true: Array, control: Array, n: int = N_TOP) -> NDArray[np.int64]:
    """Columns of the n genes with the largest |true shift|, (condition, min(n, gene)), largest first.

    Equal shifts keep gene order.
    """
    return np.argsort(-np.abs(true - control), axis=1, kind="stable")[:, :n]


def pearson_delta(predicted: Array, true: Array, control: Array) -> Array:
    """Pearson correlation of predicted and true shift over genes; NaN where either is constant.

    As cell-eval's `pearson_delta`.
    """
    return _pearson(predicted - control, true - control)


def pearson_delta_de(predicted: Array, true: Array, control: Array, top: NDArray[np.int64]) -> Array:
    """`pearson_delta` over the genes of `top` (condition, n) alone."""
    return _pearson(_take(predicted - control, top), _take(true - control, top))


def acc(predicted: Array, true: Array, control: Array) -> Array:
    """Share of genes whose shift has the true sign; no shift agrees only with no shift.

    NaN where nothing is predicted to shift: the prediction then has no signs.
    cell-eval's `de_direction_match` asks the same of fold changes, of the significant genes alone.
    """
    return _same_sign(predicted - control, true - control)


def acc_de(predicted: Array, true: Array, control: Array, top: NDArray[np.int64]) -> Array:
    """`acc` over the genes of `top` (condition, n) alone."""
    return _same_sign(_take(predicted - control, top), _take(true - control, top))


def l2(predicted: Array, true: Array) -> Array:
    """Euclidean distance of the profiles."""
    return np.sqrt(((predicted - true) ** 2).sum(axis=1))


def mse(predicted: Array, true: Array) -> Array:
    """Mean over genes of the squared difference, as cell-eval's `mse`."""
    return ((predicted - true) ** 2).mean(axis=1)


def mae(predicted: Array, true: Array) -> Array:
    """Mean over genes of the absolute difference, as cell-eval's `mae`."""
    return np.abs(predicted - true).mean(axis=1)


def discr_cos(predicted: Array, true: Array, control: Array) -> Array:
    """Cosine of predicted and true shift; NaN where either is zero.

    cell-eval's `discrimination_score_cosine` is a rank by this cosine's distance, among all conditions.
    """
    return _cosine(*np.broadcast_arrays(_no_dust(predicted - control), _no_dust(true - control)))


def log2_fold_change(profile: Array, control: Array, pseudocount: float = LFC_PSEUDOCOUNT) -> Array:
    """log2((expm1(profile) + p) / (expm1(control) + p)), the convention of scanpy, pdex 0.3 and so cell-eval 0.8.

    expm1 is taken of the mean profile, not of every cell, so that a prediction that is a
    profile alone has one too. Negative predictions count as 0. Weakly expressed genes
    have the largest changes; a larger pseudocount would turn the ranking into that of shifts.
    """
    above = np.expm1(np.maximum(profile, 0.0)) + pseudocount
    below = np.expm1(np.maximum(control, 0.0)) + pseudocount
    return np.log2(above / below)


def des(predicted: Array, true: Array, control: Array, significant: NDArray[np.bool_]) -> Array:
    """Spearman correlation of predicted and true log2 fold change on the significant genes.

    `significant` (condition, gene): the true cells' differentially expressed genes. NaN
    where there are fewer than 5, or where either fold change is constant on them.
    cell-eval's `de_spearman_lfc_sig` is this on its own significant genes, whose p has a continuity
    correction, and without the rule of 5.
    """
    control = np.broadcast_to(control, true.shape)
    score = np.full(len(true), np.nan)
    for i, genes in enumerate(significant):
        # No shift is no fold change; left to rounding it would have a ranking.
        if genes.sum() >= MIN_SIGNIFICANT and np.any(_no_dust(predicted[i] - control[i])[genes]):
            changes = [log2_fold_change(profile[i, genes], control[i, genes]) for profile in (predicted, true)]
            score[i] = _pearson(*(rankdata(change)[None] for change in changes))[0]
    return score


def pds(predicted: Array, true: Array, own_targets: Sequence[NDArray[np.int64]]) -> Array:
    """Perturbation discrimination: 1 − (rank − 1)/(N − 1) among N conditions.

    The rank of the true profile by L1 distance to the prediction, among the true profiles of
    all conditions given (those of one context); the genes that the prediction's condition
    targets are left out (`own_targets`: their columns). Ties take their mean rank, so a
    prediction that tells nothing apart scores 0.5. NaN where N is 1.
    cell-eval's `discrimination_score_l1` is 1 − (rank − 1)/N, of shifts (the same ranks where both
    files share their control cells); it leaves out the gene named like the condition, so nothing
    of a combination, and gives ties the rank of their place in the file.
    """
    n = len(true)
    score = np.full(n, np.nan)
    if n < 2:
        return score
    true = np.ascontiguousarray(true)
    for i, columns in enumerate(own_targets):
        kept = np.ones(true.shape[1])
        kept[columns] = 0.0
        distance = _l1_distances(np.ascontiguousarray(predicted[i]), true, kept)
        tied = np.isclose(distance, distance[i], rtol=1e-12, atol=0.0)
        better = ((distance < distance[i]) & ~tied).sum()
        score[i] = 1.0 - (better + (tied.sum() - 1) / 2) / (n - 1)
    score[np.isnan(predicted).any(axis=1)] = np.nan
    return score


def _take(shift: Array, top: NDArray[np.int64]) -> Array:
    return np.take_along_axis(shift, top, axis=1)


def _no_dust(shift: Array) -> Array:
    return np.where(np.abs(shift) <= _ROUNDING, 0.0, shift)


def _same_sign(predicted: Array, true: Array) -> Array:
    predicted, true = _no_dust(predicted), _no_dust(true)
    share = (np.sign(predicted) == np.sign(true)).mean(axis=1)
    undefined = ~np.any(predicted, axis=1) | np.isnan(predicted).any(axis=1) | np.isnan(true).any(axis=1)
    return np.where(undefined, np.nan, share)


def _pearson(x: Array, y: Array) -> Array:
    return _cosine(_no_dust(x - x.mean(axis=1, keepdims=True)), _no_dust(y - y.mean(axis=1, keepdims=True)))


def _cosine(x: Array, y: Array) -> Array:
    product = np.full(len(x), np.nan)
    length_x, length_y = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    np.divide(np.einsum("ij,ij->i", x, y), length_x * length_y, out=product, where=(length_x > 0) & (length_y > 0))
    return np.clip(product, -1.0, 1.0)


@jit
def _l1_distances(profile, others, kept):
    """L1 distance of a profile (gene,) to each of others (condition, gene) over the genes where `kept` is 1, else 0."""
    n, width = others.shape
    result = np.empty(n)
    for row in range(n):
        total = 0.0
        for gene in range(width):
            total += kept[gene] * abs(others[row, gene] - profile[gene])
        result[row] = total
    return result
