"""Prior files that fit a simulated screen: interactions and pathways that know its modules, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int

from scbig_dist.errors import UserError
from scbig_dist.screen.simulate_truth import Truth

FILES = ("ppi.tsv", "pathways.gmt")
DEGREE = 8  # interactions within the module that a gene starts, on average


def check_folder(folder: Path, force: bool) -> None:
    """Raise where the files cannot or should not be written."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--priors {folder}: a file; give a directory")
    there = [name for name in FILES if (folder / name).exists()]
    if there and not force:
        raise UserError(
            f"--priors {folder}: has {' and '.join(there)}; choose another directory or write over with --force"
        )


def write_priors(folder: Path, truth: Truth, rng: np.random.Generator) -> None:
    """`ppi.tsv` (a, b, combined_score from 150 to 999) and `pathways.gmt` in `folder`.

    Four of five interactions of score 700 and above lie within a module. Each module has
    two pathways of 70 % of its genes and as many as a tenth from elsewhere; one pathway in
    ten is random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"ppi.tsv": ppi_text(truth, rng), "pathways.gmt": pathways_text(truth, rng)}
    for name, text in texts.items():
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


def ppi_text(truth: Truth, rng: np.random.Generator) -> str:
    n_genes = len(truth.genes)
    first = np.repeat(np.arange(n_genes), DEGREE)
    within = partners_within(truth.module, first, rng)
    n_noise = 2 * n_genes  # of score 700 and above; as many below
    noise = rng.integers(n_genes, size=(2 * n_noise, 2))
    pairs = np.concatenate([np.stack([first, within], axis=1), noise])
    scores = np.concatenate([
        rng.integers(700, 1000, len(first) + n_noise), rng.integers(150, 700, n_noise)
    ])  # fmt: skip
    pairs = np.sort(pairs, axis=1)
    keep = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
    _, once = np.unique(pairs[keep], axis=0, return_index=True)
    rows = keep[once]
    lines = (
        f"{truth.genes[a]}\t{truth.genes[b]}\t{score}\n"
        for (a, b), score in zip(pairs[rows], scores[rows], strict=True)
    )
    return "a\tb\tcombined_score\n" + "".join(lines)


def partners_within(
    module: Int[np.ndarray, " gene"], genes: Int[np.ndarray, " edge"], rng: np.random.Generator
) -> Int[np.ndarray, " edge"]:
    """For every gene a random member of its module (perhaps itself)."""
    order = np.argsort(module, kind="stable")
    n_members = np.bincount(module)
    start = np.cumsum(n_members) - n_members
    k = module[genes]
    return order[start[k] + (rng.random(len(genes)) * n_members[k]).astype(np.int64)]


def pathways_text(truth: Truth, rng: np.random.Generator) -> str:
    n_modules = int(truth.module.max()) + 1
    everyone = np.arange(len(truth.genes))
    lines = []
    for k in range(n_modules):
        members = np.flatnonzero(truth.module == k)
        for copy in (1, 2):
            chosen = rng.permutation(members)[: max(1, round(0.7 * len(members)))]
            strangers = rng.choice(everyone, size=max(1, len(chosen) // 10))
            lines.append((f"MODULE_{k:02d}_SET_{copy}", np.union1d(chosen, strangers)))
    size = max(2, len(everyone) // (2 * n_modules))
    lines += [(f"RANDOM_SET_{i + 1}", np.unique(rng.choice(everyone, size))) for i in range(max(1, n_modules // 5))]
    return "".join("\t".join([name, "simulated", *(truth.genes[i] for i in members)]) + "\n" for name, members in lines)
