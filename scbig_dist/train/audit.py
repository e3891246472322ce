"""What the gene modules of a run hold, for a person to read: `RUN/modules.tsv`, `RUN/enrichment.tsv`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbig_dist.artifacts import write_text
from scbig_dist.grc_audit import SIGNIFICANT, coherence, enrichment
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.inputs import Prepared
from scbig_dist.train.random import generator

N_RANDOM = 50  # size-matched random partitions behind the coherence


def audit_modules(prepared: Prepared, experiment: Experiment, run: Path) -> list[str]:
    """Write who is in which module and which pathways are over-represented; a line of each for the log."""
    modules = prepared.inputs.module_of_gene.numpy()
    table = pd.DataFrame({"gene": experiment.genes, "module": modules})
    write_text(run / "modules.tsv", table.to_csv(sep="\t", index=False))
    sizes = np.bincount(modules)
    lines = [f"modules: {(sizes > 0).sum()} of {sizes[sizes > 0].min()} to {sizes.max()} genes"]
    if prepared.inputs.gene_embedding is not None:
        rng = generator(experiment.config.train.seed, "coherence")
        found = coherence(modules, prepared.inputs.gene_embedding.numpy(), rng, N_RANDOM)
        lines[0] += (
            f"; mean cosine of their gene embeddings {found.observed:.3f}, "
            f"of random partitions {found.random_mean:.3f} ± {found.random_sd:.3f}"
        )
    if prepared.pathways is not None:
        known = prepared.pathways.matrix.any(axis=0)  # the background: interpret/module_audit.py says why
        rows = enrichment(modules[known], prepared.pathways.matrix[:, known], prepared.pathways.names)
        write_text(run / "enrichment.tsv", rows[rows["overlap"] > 0].to_csv(sep="\t", index=False))
        significant = rows[rows["q"] < SIGNIFICANT]
        lines.append(
            f"enrichment: {significant['pathway'].nunique()} pathways in {significant['module'].nunique()} modules "
            f"(hypergeometric, q < {SIGNIFICANT})"
        )
    return lines
