"""Every model under the same protocol, on one split (the paper's table 1).

Point for point what `model.name` may be, scBIG with a mean head, and CellFlow: our flow on principal components, without modules and
alignment. Needs priors.ppi and priors.pathways. Every point is named beforehand, so each is scored on test. The
paper's other methods need weights or tools that are not here; their rows stay without a number of ours. For another
split: `--set split.kind=holdout`, and so on.
"""

base = "../configs/norman_additive.yaml"
points = {
    "scBIG": {},
    "scBIG+": {
        "shift.head": "network"
    },  # not the paper's: a mean head beside the flow; configs/scbig_plus.yaml is its own preset
    "CellFlow": {
        "gcae.encoder": "pca",
        "gcae.latent_dim": 50,
        "align.lambda_corr": 0.0,
        "align.lambda_path": 0.0,
    },  # configs/cellflow.yaml
    "Control": {"model.name": "control"},
    "Mean-shift": {"model.name": "mean_shift"},
    "Additive": {"model.name": "additive"},
    "Ridge-additive": {"model.name": "ridge_additive"},
    "Linear": {"model.name": "linear"},
    "Linear-ext (stand-in)": {"model.name": "linear_ext", "priors.gene_embedding": "spectral"},  # or a file
    "kNN": {"model.name": "knn"},
    "samsVAE": {"model.name": "samsvae"},
    "CPA": {"model.name": "cpa"},
    "GEARS": {"model.name": "gears"},
    "scGen": {"model.name": "scgen"},
}
published = "norman_additive"
scales = {"cpu": {"base": "../configs/cpu_small.yaml"}}
