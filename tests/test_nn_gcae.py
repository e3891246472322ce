"""The autoencoder: shapes, symmetries, corners, and that it learns."""

from __future__ import annotations

import itertools

import pytest
import torch

from scbig_dist.config import GCAEConfig
from scbig_dist.nn.flat_autoencoder import MLPAutoencoder
from scbig_dist.nn.gcae import Autoencoder


def build(
    labels: torch.Tensor, embedding: torch.Tensor | None = None, recompute: bool = False, **settings: object
) -> Autoencoder:
    small = {"width": 16, "n_heads": 2, "n_inducing": 3, "n_blocks": 1, "latent_dim": 4, "dropout": 0.0}
    config = GCAEConfig.model_validate(small | settings)
    return Autoencoder(labels, embedding, torch.full((len(labels),), 0.5), config, recompute)


CASES = list(
    itertools.product(
        ("gcae", "plain", "lean"), ("mean", "attention", "set_transformer", "flat"), ("per_module", "shared")
    )
)


@pytest.mark.parametrize("encoder, pooling, projection", CASES)
@pytest.mark.parametrize("with_embedding", [True, False])
def test_every_setting_reaches_every_parameter(
    encoder: str, pooling: str, projection: str, with_embedding: bool
) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 5, (30,))
    embedding = torch.randn(30, 6) if with_embedding else None
    kind = {"block": "lean"} if encoder == "lean" else {"encoder": encoder}
    model = build(labels, embedding, pooling=pooling, projection=projection, **kind)
    x = torch.rand(7, 30)
    assert model.encode(x).shape == (7, 4)
    decoded = model(x)
    assert decoded.shape == (7, 30)
    decoded.square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert idle == []


@pytest.mark.parametrize(
    "labels", [torch.zeros(9, dtype=torch.long), torch.arange(9), torch.tensor([0, 0, 0, 5, 5, 9, 9, 9, 9])]
)
def test_one_module_a_module_per_gene_and_empty_modules(labels: torch.Tensor) -> None:
    model = build(labels)
    x = torch.rand(4, 9)
    assert model.tokens(x).shape == (4, len(labels.unique()), 16)
    assert torch.isfinite(model(x)).all()


def test_genes_may_come_in_any_order() -> None:
    """Permuting genes, their labels, embeddings and means permutes the output, within a module's own order."""
    torch.manual_seed(0)
    labels, embedding, x = torch.randint(0, 4, (20,)), torch.randn(20, 6), torch.rand(5, 20)
    # A permutation that keeps the order inside each module: the per-module maps then stay as they are.
    keys = torch.rand(4)[labels] + torch.arange(20) * 1e-4
    order = torch.argsort(keys)
    model = build(labels, embedding)
    permuted = build(labels[order], embedding[order])
    permuted.load_state_dict(model.state_dict())
    torch.testing.assert_close(permuted.encode(x[:, order]), model.encode(x))
    torch.testing.assert_close(permuted(x[:, order]), model(x)[:, order])


def test_permuting_genes_within_a_module_permutes_its_weights() -> None:
    torch.manual_seed(0)
    labels, x = torch.tensor([0, 0, 0, 1, 1, 1, 1]), torch.rand(5, 7)
    order = torch.tensor([2, 0, 1, 6, 5, 3, 4])
    model, permuted = build(labels), build(labels)
    permuted.load_state_dict(model.state_dict())
    with torch.no_grad():
        for row, within in ((0, [2, 0, 1]), (1, [3, 2, 0, 1])):
            n = len(within)
            permuted.project.weight[row, :n] = model.project.weight[row, within]
            permuted.unproject.weight[row, :, :n] = model.unproject.weight[row][:, within]
            permuted.unproject.bias[row, :n] = model.unproject.bias[row, within]
    torch.testing.assert_close(permuted(x[:, order]), model(x)[:, order])


def test_a_cell_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    model, x = build(torch.arange(12) % 4), torch.rand(6, 12)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-6)


def test_the_mean_is_subtracted_and_added() -> None:
    torch.manual_seed(0)
    model = build(torch.arange(12) % 3)
    x, shift = torch.rand(6, 12), torch.rand(12)
    before = model(x)
    model.gene_mean += shift
    torch.testing.assert_close(model(x + shift), before + shift)


def test_dropout_is_off_in_evaluation() -> None:
    model, x = build(torch.arange(12) % 3, dropout=0.5), torch.rand(6, 12)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_it_learns_a_planted_structure() -> None:
    torch.manual_seed(0)
    labels = torch.arange(24) % 4
    x = torch.randn(256, 4)[:, labels] + 0.1 * torch.randn(256, 24)
    model = build(labels, width=32)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.15  # variance 1.0


@pytest.mark.parametrize("encoder", ["gcae", "plain"])
def test_bfloat16_is_near_float32(encoder: str) -> None:
    torch.manual_seed(0)
    model, x = build(torch.arange(12) % 3, encoder=encoder), torch.rand(6, 12)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x)
    torch.testing.assert_close(half.float(), model(x), atol=0.05, rtol=0.05)


def test_gradients_against_finite_differences() -> None:
    torch.manual_seed(0)
    model = build(torch.tensor([0, 0, 1, 3, 3]), torch.randn(5, 3), n_heads=2, width=8).double()
    x = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,))


@pytest.mark.parametrize("block", ["full", "lean"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_activations_change_nothing(block: str, dropout: float) -> None:
    """The same masks are drawn again, so that gradients agree to rounding."""
    labels, x = torch.arange(24) % 4, torch.rand(9, 24)
    grads = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = build(labels, recompute=recompute, block=block, dropout=dropout, n_blocks=2)
        model(x).square().sum().backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(grads[1], grads[0])


@pytest.mark.parametrize("block", ["full", "lean"])
def test_parts_of_a_batch_add_up_to_it(block: str) -> None:
    torch.manual_seed(0)
    labels, x = torch.arange(24) % 4, torch.rand(12, 24)
    model = build(labels, block=block)
    whole = torch.autograd.grad((model(x) - x).square().sum(), list(model.parameters()))
    parts = [torch.autograd.grad((model(p) - p).square().sum(), list(model.parameters())) for p in x.split(5)]
    torch.testing.assert_close([sum(each) for each in zip(*parts, strict=True)], list(whole), rtol=1e-4, atol=1e-5)


def test_lean_block_writes_every_token_from_every_other() -> None:
    """One change of one module reaches all tokens, as in the full block."""
    torch.manual_seed(0)
    model = build(torch.arange(12) % 3, block="lean")
    x = torch.rand(1, 12)
    moved = x + 0.5 * (torch.arange(12) % 3 == 1)
    change = (model.tokens(moved) - model.tokens(x)).abs().amax(2)[0]
    assert (change > 1e-6).all()


@pytest.mark.parametrize("encoder", ["gcae", "mlp"])
@pytest.mark.parametrize("skip", ["frozen", "learned"])
def test_with_a_skip_the_start_is_linear(encoder: str, skip: str) -> None:
    """Before its first step the autoencoder is the projection onto its components; it then leaves it."""
    torch.manual_seed(0)
    components = torch.linalg.qr(torch.randn(12, 4))[0].T
    config = GCAEConfig(width=16, n_heads=2, n_inducing=3, n_blocks=1, latent_dim=4, dropout=0.0, skip=skip)
    mean, x = torch.full((12,), 0.5), torch.rand(6, 12)
    model: Autoencoder | MLPAutoencoder = MLPAutoencoder(mean, config, components)
    if encoder == "gcae":
        model = Autoencoder(torch.arange(12) % 3, None, mean, config, components=components)
    torch.testing.assert_close(model.encode(x), (x - 0.5) @ components.T)
    torch.testing.assert_close(model(x), (x - 0.5) @ components.T @ components + 0.5)
    assert len([name for name, _ in model.named_parameters() if name.startswith("skip")]) == 2 * (skip == "learned")
    (model(x) - x).square().sum().backward()
    moved = [name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    assert moved, "nothing would ever leave the start"


@pytest.mark.parametrize("n_inducing", [3, 16])
@pytest.mark.parametrize("kind", [{}, {"block": "lean"}, {"encoder": "plain"}, {"pooling": "flat"}])
def test_a_part_without_cells_passes(kind: dict[str, str], n_inducing: int) -> None:
    """An epoch's last batch, cut into the parts of `autoencoder.accumulate`, may have fewer cells than parts."""
    model = build(torch.arange(12) % 4, n_inducing=n_inducing, **kind)
    out = model(torch.zeros(0, 12))
    out.sum().backward()
    assert out.shape == (0, 12)
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
