"""Trained on one context, tested on another: scBIG beside CellFlow (the paper's table 18).

The contexts are the store's own (`data.context` when it was built); name others with
`--set split.train_context=… --set split.test_context=…`. Baselines stand in the report of the best trial.
"""

base = "../configs/norman_additive.yaml"
fixed = {"split.kind": "transfer", "split.train_context": "K562", "split.test_context": "RPE1"}
points = {
    "scBIG": {},
    "CellFlow": {
        "gcae.encoder": "pca",
        "gcae.latent_dim": 50,
        "align.lambda_corr": 0.0,
        "align.lambda_path": 0.0,
    },  # configs/cellflow.yaml
}
published = "transfer_k562_to_rpe1"
# Two glioblastoma lines of McFaline 2023, 9 knock-downs in each: a small real screen.
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {
            "split.kind": "transfer",
            "split.train_context": "A172",
            "split.test_context": "U87MG",
            "split.n_val": 2,
            "autoencoder.epochs": 20,  # 700 cells: an epoch is 22 updates
            "flow.steps": 1000,
            "flow.validate_every": 250,
        },
    }
}
