"""Baselines that are computed, not trained, behind the protocol of models: control cells moved by a shift."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.models.baselines import (
    Array,
    Shifts,
    predict_additive,
    predict_control,
    predict_knn,
    predict_linear,
    predict_mean_shift,
    predict_ridge_additive,
    seen_from,
)
from scbig_dist.models.protocol import Batch, ConditionInput, StageLoss
from scbig_dist.models.screen_inputs import Names, ScreenInputs


class ClosedForm(nn.Module):
    """Control · Mean-shift · Additive · Ridge-additive · Linear · Linear-ext · kNN (`models/baselines.py`).

    Predicted cells are control cells of the context, moved together so that their mean is the
    predicted mean: the draw of control cells adds no noise to it, and the score is that of the
    reference row. They are not clamped. What a baseline cannot give is NaN.
    """

    stages: tuple[str, ...] = ()

    def __init__(self, inputs: ScreenInputs, config: Config, names: Names) -> None:
        super().__init__()
        self._inputs, self._names, self._config = inputs, names, config
        conditions = tuple(self._conditions(inputs.train))
        self._shifts = Shifts(conditions, inputs.shifts.double().numpy(), names.genes)

    def stage_modules(self, stage: str) -> list[nn.Module]:
        raise AssertionError(f"{stage}: a closed form has no stages")

    def loss(self, stage: str, batch: Batch) -> StageLoss:
        raise AssertionError(f"{stage}: a closed form has no loss")

    @torch.no_grad()
    def predict(
        self, control: Float[Tensor, "cell gene"], condition: ConditionInput, fast: bool = False
    ) -> Float[Tensor, "cell gene"]:
        wanted = self._conditions(condition)
        shift = torch.from_numpy(self._predict(wanted)[0]).to(control.device)
        mean = self._inputs.control_mean[condition.context[0]].to(control.device)
        x = control.double()  # in float32, rounding would pass for a shift
        return (x - x.mean(0) + mean + shift).to(control)

    def _predict(self, wanted: list[Condition]) -> Array:
        inputs, config = self._inputs, self._config
        seen, name = seen_from(self._shifts, wanted[0].context), config.model.name
        if name == "knn":
            assert inputs.target_vectors is not None
            return predict_knn(seen, wanted, self._target_rows(), config.baseline.n_neighbors)
        if name == "linear_ext":
            assert inputs.gene_embedding is not None
            rows = self._target_rows() if inputs.target_vectors is not None else None
            return predict_linear(seen, wanted, loadings=inputs.gene_embedding.double().numpy(), target_rows=rows)
        if name == "ridge_additive":
            return predict_ridge_additive(seen, wanted, config.baseline.ridge)
        simple = {
            "control": predict_control,
            "mean_shift": predict_mean_shift,
            "additive": predict_additive,
            "linear": predict_linear,
        }
        return simple[name](seen, wanted)

    def _target_rows(self) -> dict[str, Array]:
        inputs = self._inputs
        assert inputs.target_vectors is not None
        vectors, known = inputs.target_vectors.double().numpy(), inputs.target_known.tolist()
        return {name: vectors[row] for row, name in enumerate(self._names.targets) if known[row]}

    def _conditions(self, given: ConditionInput) -> list[Condition]:
        """The conditions by name; a target beyond the vocabulary keeps its number, and is known to nobody."""
        names = []
        for targets, context, dose in zip(
            given.targets.tolist(), given.context.tolist(), given.dose.tolist(), strict=True
        ):
            labels = [self._names.targets[t] if t < len(self._names.targets) else f"?{t}" for t in targets if t >= 0]
            with_dose = dose if self._inputs.with_dose else None
            names.append(Condition(self._names.contexts[context], "+".join(sorted(labels)), with_dose))
        return names
