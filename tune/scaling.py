"""Panels of 2,000 to 10,000 HVGs, with and without a wider model (the paper's table 9).

Every point is a row of that table, named beforehand, so each is scored on test.
Needs a store with at least 10,000 HVGs (`scbig store build --set panel.n_hvg=10000`).
"""

base = "../configs/norman_additive.yaml"
points = {
    "Norman default": {
        "panel.n_hvg": 2000, "grc.n_modules": 32, "gcae.n_inducing": 8, "gcae.latent_dim": 50,
        "autoencoder.batch": 256, "flow.batch": 1024,
    },
    "5k HVGs": {
        "panel.n_hvg": 5000, "grc.n_modules": 32, "gcae.n_inducing": 8, "gcae.latent_dim": 50,
        "autoencoder.batch": 256, "flow.batch": 1024,
    },
    "5k HVGs wide": {
        "panel.n_hvg": 5000, "grc.n_modules": 64, "gcae.n_inducing": 16, "gcae.latent_dim": 64,
        "autoencoder.batch": 256, "flow.batch": 1024,
    },
    "10k HVGs": {
        "panel.n_hvg": 10000, "grc.n_modules": 32, "gcae.n_inducing": 8, "gcae.latent_dim": 50,
        "autoencoder.batch": 128, "flow.batch": 256,
    },
    "10k HVGs wide": {
        "panel.n_hvg": 10000, "grc.n_modules": 128, "gcae.n_inducing": 32, "gcae.latent_dim": 96,
        "autoencoder.batch": 128, "flow.batch": 256,
    },
}  # fmt: skip
timed = "alone"  # memory of each stage, and step times with nothing beside them
published = "scaling_hvg"
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"autoencoder.epochs": 2, "flow.steps": 600, "flow.validate_every": 300},
        "points": {
            "2k": {
                "panel.n_hvg": 2000, "grc.n_modules": 32, "gcae.n_inducing": 8, "gcae.latent_dim": 50,
                "autoencoder.batch": 64, "flow.batch": 256,
            },
            "5k": {
                "panel.n_hvg": 5000, "grc.n_modules": 32, "gcae.n_inducing": 8, "gcae.latent_dim": 50,
                "autoencoder.batch": 64, "flow.batch": 256,
            },
            "5k wide": {
                "panel.n_hvg": 5000, "grc.n_modules": 64, "gcae.n_inducing": 16, "gcae.latent_dim": 64,
                "autoencoder.batch": 64, "flow.batch": 256,
            },
            "10k": {
                "panel.n_hvg": 10000, "grc.n_modules": 32, "gcae.n_inducing": 8, "gcae.latent_dim": 50,
                "autoencoder.batch": 32, "flow.batch": 64,
            },
            "10k wide": {
                "panel.n_hvg": 10000, "grc.n_modules": 128, "gcae.n_inducing": 32, "gcae.latent_dim": 96,
                "autoencoder.batch": 32, "flow.batch": 64,
            },
        },
    }
}  # fmt: skip
