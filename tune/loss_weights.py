"""Weights of the two alignment losses: the paper's three settings (table 6d), then a search on a log scale.

The three are named beforehand, so each is scored on test; of the rest only the best.
"""

base = "../configs/norman_additive.yaml"
points = {
    "0.1, 1": {"align.lambda_corr": 0.1, "align.lambda_path": 1.0},
    "1, 0.1": {"align.lambda_corr": 1.0, "align.lambda_path": 0.1},
    "0.1, 0.1": {"align.lambda_corr": 0.1, "align.lambda_path": 0.1},
}
axes = {
    "align.lambda_corr": {"low": 1e-3, "high": 10.0, "log": True},
    "align.lambda_path": {"low": 1e-3, "high": 10.0, "log": True},
}
sampler = "tpe"
n_trials = 24
stopping = {"rule": "asha", "grace": 100_000, "reduction": 3}
published = "loss_weights"
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"autoencoder.epochs": 2, "flow.steps": 1000, "flow.validate_every": 500},
        "n_trials": 8,
        "stopping": None,
    }
}
