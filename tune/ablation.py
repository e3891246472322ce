"""What each part of scBIG is worth: the paper's ablations (tables 6 and 10), one change at a time from `full`.

Modules and encoder (6a), how modules are made and from what (6b), alignment losses (6c), pooling of tokens (10),
and what a target is to the flow (6e). Needs priors.ppi and priors.pathways; gene and target vectors are files where you
have them (`--set priors.gene_embedding=genecompass.npz --set priors.target_embedding=esm2.npz`), else stand-ins. Ours
beside the paper's: random modules, each loss alone, pooling and vectors of targets. Every point is named beforehand,
so each is scored on test. Where `full` already has a point's value, the two agree to the last digit: a check.
"""

base = "../configs/norman_additive.yaml"
points = {
    "full": {},
    # Table 6(a): clustering × encoder. "k-means" is the balanced one, as the paper's text says.
    "plain encoder": {"gcae.encoder": "plain", "gcae.block": "full"},
    "k-means balanced": {"grc.clustering": "kmeans_balanced"},
    "k-means balanced + plain": {"grc.clustering": "kmeans_balanced", "gcae.encoder": "plain", "gcae.block": "full"},
    "random modules": {"grc.clustering": "random"},
    "random modules + plain": {"grc.clustering": "random", "gcae.encoder": "plain", "gcae.block": "full"},
    "no clustering": {"grc.clustering": "none"},
    "no clustering + plain": {"grc.clustering": "none", "gcae.encoder": "plain", "gcae.block": "full"},
    # Table 6(b): the balance, a soft assignment, the priors. Without any prior the modules can only be random.
    "k-means unbalanced": {"grc.clustering": "kmeans"},
    "soft, temperature 0.3": {"grc.clustering": "soft", "grc.temperature": 0.3},
    "soft, temperature 1": {"grc.clustering": "soft", "grc.temperature": 1.0},
    "no PPI": {"grc.w_ppi": 0.0},  # in the clustering; the stand-in vectors of targets still come from it
    "no gene embedding": {"priors.gene_embedding": None},
    "no prior": {"grc.clustering": "random", "priors.gene_embedding": None},
    # Its "update by pert" clusters by the predictions of a finished run, so it cannot be a point before there is one:
    # scbig sweep a copy of this file with the one point {"grc.feedback": "STUDY/trials/0000"}, STUDY this one's folder.
    # Table 6(c): the alignment losses.
    "no alignment losses": {"align.lambda_corr": 0.0, "align.lambda_path": 0.0},
    "correlation loss alone": {"align.lambda_path": 0.0},
    "pathway loss alone": {"align.lambda_corr": 0.0},
    # Table 10: how module tokens become a latent. At --scale cpu `full` pools nothing.
    "mean pooling": {"gcae.pooling": "mean"},
    "attention pooling": {"gcae.pooling": "attention"},
    "set transformer pooling": {"gcae.pooling": "set_transformer"},
    # Table 6(e) and beyond: what the flow knows of a target. ESM2 and GeneCompass are points like these with a file.
    "random target vectors": {"priors.target_embedding": "random"},
    "spectral target vectors": {"priors.target_embedding": "spectral"},
    "target vectors frozen": {"flow.target_embedding": "frozen"},
    "target vectors learned": {"flow.target_embedding": "learned"},
    "target vectors frozen and learned": {"flow.target_embedding": "both"},
    "targets pooled by attention": {"flow.pooling": "attention"},
    "targets pooled by sum": {"flow.pooling": "sum"},
}
published = [
    "ablation_clustering_encoder", "ablation_priors", "ablation_alignment", "pooling", "condition_embedding",
]  # fmt: skip
# Short training: differences below a few hundredths say nothing, and a second `train.seed` tells how many.
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"autoencoder.epochs": 2, "flow.steps": 1000, "flow.validate_every": 500},
    }
}
