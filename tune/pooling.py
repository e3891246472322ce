"""How module tokens become one latent (the paper's table 10), and ours without pooling.

Every point is named beforehand, so each is scored on test.
"""

base = "../configs/norman_additive.yaml"
points = {
    "mean": {"gcae.pooling": "mean"},
    "set transformer": {"gcae.pooling": "set_transformer"},
    "attention": {"gcae.pooling": "attention"},
    "flat": {"gcae.pooling": "flat"},  # ours: no pooling, each token has its own map to the latent
}
published = "pooling"
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"autoencoder.epochs": 2, "flow.steps": 1000, "flow.validate_every": 500},
    }
}
