"""Vectors of genes for the modules (the paper's figure 5), vectors of targets for the flow (its table 6e).

No pretrained vectors come with this project: the points are stand-ins, and named so. `--scale files` has the paper's,
from files of yours in `vectors/`. One file alone: `--set priors.target_embedding=esm2.npz` changes the points of genes,
and the other way round, but not the points that name it. Needs priors.ppi; the stand-in `relations` is of gene sets
too where priors.pathways gives some.
"""

base = "../configs/norman_additive.yaml"
points = {
    "genes: stand-in pca": {"priors.gene_embedding": "pca"},
    "genes: stand-in spectral": {"priors.gene_embedding": "spectral"},
    "genes: stand-in random": {"priors.gene_embedding": "random"},
    "genes: none": {"priors.gene_embedding": None},
    "targets: stand-in spectral": {"priors.target_embedding": "spectral", "flow.target_embedding": "frozen"},
    "targets: stand-in relations": {"priors.target_embedding": "relations", "flow.target_embedding": "frozen"},
    "targets: stand-in random": {"priors.target_embedding": "random", "flow.target_embedding": "frozen"},
    "targets: learned alone": {"flow.target_embedding": "learned"},
}
published = "condition_embedding"
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"autoencoder.epochs": 2, "flow.steps": 1000, "flow.validate_every": 500},
    },
    "files": {  # symbol → vector: .npz, .csv, .tsv, .pt or .h5ad
        "points": {
            "genes: GeneCompass": {"priors.gene_embedding": "vectors/genecompass.npz"},
            "genes: GO": {"priors.gene_embedding": "vectors/go.npz"},
            "genes: ESM2": {"priors.gene_embedding": "vectors/esm2.npz"},
            "GeneCompass": {
                "priors.gene_embedding": "vectors/genecompass.npz",
                "priors.target_embedding": "vectors/genecompass.npz",
            },
            "ESM2": {
                "priors.gene_embedding": "vectors/genecompass.npz",
                "priors.target_embedding": "vectors/esm2.npz",
            },
        },
    },
}
