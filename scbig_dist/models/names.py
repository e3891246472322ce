"""What a model is called in tables."""

from __future__ import annotations

from scbig_dist.config import Config

NAMES = {
    "scbig": "scBIG",
    "control": "Control",
    "mean_shift": "Mean-shift",
    "additive": "Additive",
    "ridge_additive": "Ridge-additive",
    "linear": "Linear",
    "linear_ext": "Linear-ext",
    "knn": "kNN",
    "samsvae": "samsVAE",
    "cpa": "CPA",
    "gears": "GEARS",
    "scgen": "scGen",
}


def method_name(config: Config) -> str:
    """The row of a config's model: `model.name`; scBIG+ where a mean head is added, CellFlow where modules,
    GCAE and alignment are all left out."""
    align = config.align
    if config.model.name != "scbig":
        return NAMES[config.model.name]
    if config.shift.head != "none":
        return "scBIG+"
    if config.gcae.encoder == "pca" and align.lambda_corr == align.lambda_path == 0:
        return "CellFlow"
    return NAMES["scbig"]
