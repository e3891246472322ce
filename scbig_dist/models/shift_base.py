"""Where a condition's mean goes, by kernel ridge: known targets have their own effects, unseen ones what is common.

Everything here is linear in the training shifts, so that leaving training conditions out is
exact and cheap: the inverse of a kernel matrix is downdated, nothing is fitted again.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scbig_dist.config import ShiftConfig

ELSEWHERE = 0.5  # kernel between conditions of different contexts or doses; 1 within one
NEARLY_MEASURED = 0.05  # ridge of the effects of single targets
CUTS = (10, 20, 40)  # smooth projections of the summed effects end near these eigenvectors of the training shifts
RESIDUAL_RIDGE = 0.1
SHARPNESS = 8.0  # of the weights by cosine in the nearest combinations
N_WEIGHTS = 6 + len(CUTS)  # rows of `ShiftBase.weights`
BASE, SUM, COMBINATIONS = 0, 1, 2  # three of them by name


def without(inverse: Float[Tensor, "n n"], rhs: Float[Tensor, "n q"], gone: Bool[Tensor, " n"]) -> Float[Tensor, "n q"]:
    """`(A_kk)⁻¹ rhs_k` from A⁻¹, over the rows k that are not `gone`; rows of `gone` are 0.

    The block inverse: with x = A⁻¹ rhs, what the gone rows have contributed is taken out again.
    """
    rows = gone.nonzero()[:, 0]
    x = inverse @ rhs.masked_fill(gone[:, None], 0.0)
    if len(rows):
        x = x - inverse[:, rows] @ torch.linalg.solve(inverse[rows][:, rows], x[rows])
    return x.masked_fill(gone[:, None], 0.0)


class ShiftBase:
    """Weights of training shifts, for any condition and with any training conditions left out. float64."""

    def __init__(
        self,
        z: Float[Tensor, "train target"],
        place: Float[Tensor, "train train"],
        shifts: Float[Tensor, "train gene"],
        similarity: Float[Tensor, "target target"],
        config: ShiftConfig,
    ) -> None:
        """`z`: 1 where a target is hit; `place`: 1 within a context and dose, ELSEWHERE between; `similarity`: of targets, PSD."""
        self.z, self.y, self._place = z, shifts, place
        n = len(z)
        self.kernel = torch.eye(z.shape[1], dtype=torch.float64) + config.common + config.prior * similarity
        self.combination = z.sum(1) > 1
        self.gram = shifts @ shifts.T
        eye = torch.eye(n, dtype=torch.float64)
        among = (z @ self.kernel @ z.T) * place
        self._inverses = [torch.linalg.inv(among + r * eye) for r in (config.ridge, NEARLY_MEASURED)]
        values = torch.linalg.eigvalsh(self.gram).flip(0)
        cuts = [values[min(cut, n - 1)].clamp_min(1e-9) for cut in CUTS]
        self._smooth = [torch.linalg.inv(self.gram + cut * eye) for cut in cuts]

    def weights(
        self, z: Float[Tensor, " target"], place: Float[Tensor, " train"], gone: Bool[Tensor, " train"]
    ) -> tuple[Float[Tensor, "weight train"], Float[Tensor, "hit train"]]:
        """Weights of the training shifts for one condition, and for the effect of each of its targets.

        In order: base; sum of effects; mean of combinations; mean of all; the sum's smooth
        projections; what combinations with like sums do beyond theirs, and what the likest do.
        """
        rhs = self.z @ self.kernel  # (train, target)
        base = without(self._inverses[0], (rhs @ z * place)[:, None], gone)[:, 0]
        effects = without(self._inverses[1], rhs * place[:, None], gone).T  # (target, train)
        total = z @ effects
        kept = (~gone).double()
        combinations = kept * self.combination
        means = [each / each.sum().clamp_min(1) for each in (combinations, kept)]
        projected = (self.gram @ total)[:, None]
        smooth = [without(inverse, projected, gone)[:, 0] for inverse in self._smooth]
        beyond = self._beyond(effects, total, (combinations > 0).nonzero()[:, 0])
        return torch.stack([base, total, *means, *smooth, *beyond]), effects[z > 0]

    def _beyond(self, effects: Tensor, total: Tensor, rows: Tensor) -> list[Tensor]:
        """What combinations do beyond the sum of their targets' effects, carried over by likeness."""
        if len(rows) == 0:
            return [torch.zeros_like(total)] * 2
        own = torch.zeros(len(rows), len(total), dtype=torch.float64)
        own[torch.arange(len(rows)), rows] = 1.0
        sums = self.z[rows] @ effects
        beyond = own - sums
        inner, to = sums @ self.gram @ sums.T, sums @ self.gram @ total
        length, here = inner.diagonal().clamp_min(1e-12).sqrt(), (total @ self.gram @ total).clamp_min(0).sqrt()
        scale = (length**2).mean()
        eye = torch.eye(len(rows), dtype=torch.float64)
        alike = torch.linalg.solve(inner / scale + RESIDUAL_RIDGE * eye, to / scale)
        near = torch.softmax(SHARPNESS * to / (length * here).clamp_min(1e-12), 0) / length * here
        return [alike @ beyond, near @ own]
