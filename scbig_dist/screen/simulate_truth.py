"""The known truth of a simulated screen: modules, baselines and effects, all in log space."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from scbig_dist.errors import UserError

CONTROL_SHARE = 0.15  # of the cells of a context
MIN_CELLS = 10  # of a condition in a context, as the cell store wants by default


@dataclass(frozen=True)
class Recipe:
    """What to simulate; the meaning of a field stands in `scbig simulate --help`."""

    n_cells: int = 6000
    n_genes: int = 600
    n_perturbations: int = 24
    n_doubles: int | None = None
    n_contexts: int = 2
    n_modules: int = 16
    n_batches: int = 2
    interacting: float = 0.4
    efficiency: float = 0.9
    library: float | None = None
    library_sd: float = 0.35
    seed: int = 0

    @property
    def doubles(self) -> int:
        """Asked for, or 1.5 per perturbed gene as far as there are pairs."""
        n_pairs = self.n_perturbations * (self.n_perturbations - 1) // 2
        return min(3 * self.n_perturbations // 2, n_pairs) if self.n_doubles is None else self.n_doubles

    @property
    def median_library(self) -> float:
        """Asked for, or 8 counts per gene up to 12,000."""
        return min(8.0 * self.n_genes, 12_000.0) if self.library is None else self.library


@dataclass(frozen=True)
class Truth:
    """Everything that the cells are drawn from; effects and baselines are natural logs."""

    genes: tuple[str, ...]
    contexts: tuple[str, ...]
    conditions: tuple[str, ...]
    module: Int[np.ndarray, " gene"]
    loading: Float[np.ndarray, " gene"]
    baseline: Float[np.ndarray, "context gene"]
    effects: Float[np.ndarray, "context condition gene"]
    interacting: Bool[np.ndarray, " condition"]
    batch_shift: Float[np.ndarray, "batch gene"]
    size: Float[np.ndarray, " gene"]


def check_recipe(recipe: Recipe) -> None:
    """Raise UserError where the numbers do not go together."""
    for option, value, least in (
        ("--cells", recipe.n_cells, 1),
        ("--genes", recipe.n_genes, 2),
        ("--perturbations", recipe.n_perturbations, 1),
        ("--doubles", recipe.doubles, 0),
        ("--contexts", recipe.n_contexts, 1),
        ("--modules", recipe.n_modules, 1),
        ("--batches", recipe.n_batches, 1),
        ("--seed", recipe.seed, 0),
    ):
        if value < least:
            raise UserError(f"{option} {value}: at least {least}")
    check_cells(recipe.library, recipe.library_sd, recipe.efficiency)
    if not 0 <= recipe.interacting <= 1:
        raise UserError(f"--interacting {recipe.interacting:g}: a share from 0 to 1")
    for option, value in (("--perturbations", recipe.n_perturbations), ("--modules", recipe.n_modules)):
        if value > recipe.n_genes:
            raise UserError(f"{option} {value}: more than --genes {recipe.n_genes}; lower it or raise --genes")
    n_pairs = recipe.n_perturbations * (recipe.n_perturbations - 1) // 2
    if recipe.doubles > n_pairs:
        raise UserError(
            f"--doubles {recipe.doubles}: {recipe.n_perturbations} perturbed genes make {n_pairs} pairs; lower it or raise --perturbations"
        )
    check_enough_cells(recipe.n_cells, recipe.n_perturbations + recipe.doubles, recipe.n_contexts)


def check_cells(library: float | None, library_sd: float, efficiency: float) -> None:
    """Raise UserError where cells cannot be drawn so."""
    if library is not None and not (np.isfinite(library) and library >= 1):
        raise UserError(f"--library {library:g}: counts per cell, at least 1")
    if not (np.isfinite(library_sd) and 0 <= library_sd <= 3):
        raise UserError(f"--library-sd {library_sd:g}: a standard deviation of the log from 0 to 3")
    if not 0 < efficiency <= 1:
        raise UserError(f"--efficiency {efficiency:g}: a share above 0, up to 1")


def check_enough_cells(n_cells: int, n_conditions: int, n_contexts: int) -> None:
    """Raise UserError where a condition would have fewer than MIN_CELLS in a context."""
    least = int(np.ceil(MIN_CELLS * n_conditions / (1 - CONTROL_SHARE))) * n_contexts + n_contexts
    if n_cells < least:
        raise UserError(
            f"--cells {n_cells}: too few for {n_conditions} conditions in {n_contexts} context(s) with {MIN_CELLS} cells each; "
            f"give at least {least} or fewer perturbations"
        )


def make_truth(recipe: Recipe, rng: np.random.Generator) -> Truth:
    """Draw modules, baselines and effects.

    A target of module k shifts the activity of k and of the modules that k drives (the
    same for all targets of k), a few genes of its own, and itself. A double's effect is
    the sum of its singles'; in a share of doubles the modules' part is strengthened or
    buffered, and one module that the two targets' modules choose together moves as well.
    In contexts after the first the modules' responses are partly rescaled.
    """
    n_genes, n_modules, n_single = recipe.n_genes, recipe.n_modules, recipe.n_perturbations
    module = rng.permutation(np.arange(n_genes) % n_modules)
    loading = np.clip(rng.normal(1.0, 0.25, n_genes), 0.3, None)
    baseline = np.tile(rng.normal(0.0, 1.2, n_genes), (recipe.n_contexts, 1))
    baseline[1:] += rng.normal(0.0, 0.5, baseline[1:].shape)
    baseline[1:] += rng.normal(0.0, 0.4, (recipe.n_contexts - 1, n_modules))[:, module]
    targets = choose_targets(module, baseline.min(axis=0), n_single, rng)

    response = module_responses(n_modules, rng)
    strength = rng.uniform(0.6, 1.3, n_single) * np.where(rng.random(n_single) < 0.3, -1, 1)
    activity = strength[:, None] * response[module[targets]]
    own = np.where(rng.random((n_single, n_genes)) < 0.03, rng.normal(0.0, 0.5, (n_single, n_genes)), 0.0)
    on_target = np.zeros((n_single, n_genes))
    on_target[np.arange(n_single), targets] = rng.uniform(1.5, 2.5, n_single)

    pairs = choose_pairs(n_single, recipe.doubles, rng)
    interacting = np.zeros(n_single + len(pairs), dtype=bool)
    interacting[n_single + rng.permutation(len(pairs))[: round(recipe.interacting * len(pairs))]] = True
    joint = activity[pairs].sum(axis=1)
    extra = np.where(rng.random((len(pairs), 1)) < 0.5, 0.45, -0.45) * joint
    meeting = rng.integers(n_modules, size=(n_modules, n_modules))  # the module that two modules move together
    first, second = np.sort(module[targets][pairs], axis=1).T
    extra[np.arange(len(pairs)), meeting[first, second]] += rng.choice([-0.7, 0.7], size=len(pairs))
    joint = joint + interacting[n_single:, None] * extra

    all_activity = np.concatenate([activity, joint])
    all_own = np.concatenate([own, own[pairs].sum(axis=1)])
    all_on_target = np.concatenate([on_target, on_target[pairs].sum(axis=1)])
    scale = np.where(
        rng.random((recipe.n_contexts, n_modules)) < 0.5, 1.0, rng.uniform(0.3, 1.4, (recipe.n_contexts, n_modules))
    )
    scale[0] = 1.0
    effects = np.stack([
        s[module] * (loading * all_activity[:, module] + all_own) + all_on_target for s in scale
    ]).clip(-4, 4)  # fmt: skip

    width = max(5, len(str(n_genes - 1)))
    genes = tuple(f"G{i:0{width}d}" for i in range(n_genes))
    labels = [genes[t] for t in targets]
    conditions = (*labels, *("+".join(sorted((labels[i], labels[j]))) for i, j in pairs))
    return Truth(
        genes=genes,
        contexts=tuple(f"context{i + 1}" for i in range(recipe.n_contexts)),
        conditions=conditions,
        module=module,
        loading=loading.astype(np.float32),
        baseline=baseline.astype(np.float32),
        effects=effects.astype(np.float32),
        interacting=interacting,
        batch_shift=rng.normal(0.0, 0.1, (recipe.n_batches, n_genes)).astype(np.float32),
        size=rng.lognormal(np.log(8.0), 0.4, n_genes).astype(np.float32),
    )


def choose_targets(
    module: Int[np.ndarray, " gene"], baseline: Float[np.ndarray, " gene"], n: int, rng: np.random.Generator
) -> Int[np.ndarray, " target"]:
    """Genes to perturb, spread evenly over the modules; well-expressed genes first, so that QC keeps them."""
    n_modules = int(module.max()) + 1
    preference = (baseline < np.median(baseline)) + rng.random(len(module))
    place = np.empty(len(module), dtype=np.int64)
    for k in range(n_modules):
        members = np.flatnonzero(module == k)
        place[members[np.argsort(preference[members])]] = np.arange(len(members))
    turn = rng.permutation(n_modules)[module]
    return np.sort(np.lexsort((turn, place))[:n])


def choose_pairs(n_single: int, n_pairs: int, rng: np.random.Generator) -> Int[np.ndarray, "pair 2"]:
    """Different pairs of singles, at random."""
    every = np.array(list(combinations(range(n_single), 2)), dtype=np.int64).reshape(-1, 2)
    return every[np.sort(rng.permutation(len(every))[:n_pairs])]


def module_responses(n_modules: int, rng: np.random.Generator) -> Float[np.ndarray, "module module"]:
    """Row k: how far every module moves when a target of module k is hit; itself and two others."""
    response = np.eye(n_modules) * 0.9
    for k in range(n_modules):
        others = rng.permutation(np.delete(np.arange(n_modules), k))[:2]
        response[k, others] = rng.uniform(0.3, 0.8, len(others)) * rng.choice([-1, 1], len(others))
    return response
