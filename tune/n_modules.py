"""What an update of the autoencoder costs against the gene modules K, from one to a module per gene (the paper's table 8).

Nothing is trained: a few updates of each point are timed on random cells, one point after the other. At a module
per gene the batch is halved, as in the paper.
"""

base = "../configs/norman_additive.yaml"
points = {
    "K 1": {"grc.n_modules": 1, "autoencoder.batch": 256},
    "K 16": {"grc.n_modules": 16, "autoencoder.batch": 256},
    "K 32": {"grc.n_modules": 32, "autoencoder.batch": 256},
    "K 128": {"grc.n_modules": 128, "autoencoder.batch": 256},
    "K 512": {"grc.n_modules": 512, "autoencoder.batch": 256},
    "K = genes": {"grc.n_modules": "genes", "autoencoder.batch": 128},
}
timed = "only"
published = "step_time_n_modules"
# The paper's block and pooling, narrow: `cpu_small.yaml` has a block that many modules cost less.
scales = {
    "cpu": {"base": "../configs/cpu_small.yaml", "fixed": {"gcae.block": "full", "gcae.pooling": "mean"}},
}
