"""How accuracy depends on the gene modules K and the inducing points M (the paper's figure 6).

The grid is ours: the paper draws no values. K and M are chosen by validation, so test is
scored for the best trial alone.
"""

base = "../configs/norman_additive.yaml"
axes = {"grc.n_modules": [8, 16, 32, 64, 128], "gcae.n_inducing": [4, 8, 16, 32]}
published = "sensitivity"
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"autoencoder.epochs": 2, "flow.steps": 1000, "flow.validate_every": 500},
        "axes": {"grc.n_modules": [8, 16, 32, 64], "gcae.n_inducing": [4, 8]},
    }
}
