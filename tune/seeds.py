"""How far seeds move the scores (the paper's tables 11 and 12), and modules × encoder beside that (its table 15).

For the paper's other split: `--set split.kind=holdout`. Needs priors.ppi.
"""

base = "../configs/norman_additive.yaml"
fixed = {"gcae.block": "full"}  # the plain encoder has no other
axes = {
    "grc.clustering": ["grc", "kmeans_balanced", "none"],
    "gcae.encoder": ["gcae", "plain"],
}
seeds = 5
test = "all"  # nothing is chosen: the question is how far equal trainings differ
published = ["seed_std", "confidence"]
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"gcae.block": "full", "autoencoder.epochs": 1, "flow.steps": 600, "flow.validate_every": 300},
        "axes": {
            "grc.clustering": ["grc", "none"],
            "gcae.encoder": ["gcae", "plain"],
        },
        "seeds": 3,
    }
}
