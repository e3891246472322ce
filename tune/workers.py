"""Workers: the same work shared by more of them (strong scaling), more work with more of them (weak). Not in the paper.

Strong: an update has the same cells whatever the workers. Weak: every worker has the same cells. One trial at a time;
on a cluster Ray spreads workers over its nodes, so the same points reach from one GPU to several machines. Every point has a seed of its own, or it
would take over the first stage of another.
"""

base = "../configs/norman_additive.yaml"
fixed = {"autoencoder.epochs": 5, "flow.steps": 19200, "flow.validate_every": 19200, "train.gpus": 1.0}
points = {
    "strong 1": {"train.workers": 1, "autoencoder.batch": 1024, "flow.accumulate": 32, "train.seed": 101},
    "strong 2": {"train.workers": 2, "autoencoder.batch": 1024, "flow.accumulate": 32, "train.seed": 102},
    "strong 4": {"train.workers": 4, "autoencoder.batch": 1024, "flow.accumulate": 32, "train.seed": 103},
    "strong 8": {"train.workers": 8, "autoencoder.batch": 1024, "flow.accumulate": 32, "train.seed": 104},
    "strong 16": {"train.workers": 16, "autoencoder.batch": 1024, "flow.accumulate": 32, "train.seed": 105},
    "weak 1": {"train.workers": 1, "autoencoder.batch": 256, "flow.accumulate": 4, "train.seed": 106},
    "weak 2": {"train.workers": 2, "autoencoder.batch": 512, "flow.accumulate": 8, "train.seed": 107},
    "weak 4": {"train.workers": 4, "autoencoder.batch": 1024, "flow.accumulate": 16, "train.seed": 108},
    "weak 8": {"train.workers": 8, "autoencoder.batch": 2048, "flow.accumulate": 32, "train.seed": 109},
    "weak 16": {"train.workers": 16, "autoencoder.batch": 4096, "flow.accumulate": 64, "train.seed": 110},
}
at_once = 1
scales = {
    "cpu": {  # two cores: one thread a worker
        "base": "../configs/cpu_small.yaml",
        "fixed": {"autoencoder.epochs": 1, "flow.steps": 1600, "flow.validate_every": 1600},
        "points": {
            "strong 1": {"train.workers": 1, "autoencoder.batch": 512, "flow.accumulate": 8, "train.seed": 111},
            "strong 2": {"train.workers": 2, "autoencoder.batch": 512, "flow.accumulate": 8, "train.seed": 112},
            "weak 1": {"train.workers": 1, "autoencoder.batch": 256, "flow.accumulate": 4, "train.seed": 113},
            "weak 2": {"train.workers": 2, "autoencoder.batch": 512, "flow.accumulate": 8, "train.seed": 114},
        },
    }
}
