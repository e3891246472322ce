"""What the two alignment losses do for the scores and what they cost per step (the paper's tables 6c and 7).

Both losses in every micro-batch, as in the paper. Needs priors.ppi and priors.pathways. After the trainings a few
updates of each trial are timed with nothing beside them: those are the step times of the report.
"""

base = "../configs/norman_additive.yaml"
points = {
    "none": {"align.lambda_corr": 0.0, "align.lambda_path": 0.0},
    "corr": {"align.lambda_path": 0.0},
    "path": {"align.lambda_corr": 0.0},
    "both": {},
}
timed = "alone"
published = ["ablation_alignment", "step_time_losses"]
scales = {
    "cpu": {
        "base": "../configs/cpu_small.yaml",
        "fixed": {"align.every": 1, "autoencoder.epochs": 2, "flow.steps": 1000, "flow.validate_every": 500},
    }
}
