"""Four small trials for `make demo`: gene modules K × inducing points M."""

base = "../configs/demo.yaml"
axes = {"grc.n_modules": [4, 8], "gcae.n_inducing": [2, 4]}
