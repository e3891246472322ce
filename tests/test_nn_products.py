"""Products by hand equal einsum, forward and backward."""

from __future__ import annotations

import pytest
import torch

from scbig_dist.nn import products
from scbig_dist.nn.products import grouped_linear, product_nt


@pytest.mark.parametrize("most", [0, 256])
@pytest.mark.parametrize("transposed", [False, True])
def test_equals_einsum(most: int, transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MOST_GROUPS", most)
    torch.manual_seed(0)
    x = torch.randn(7, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, 5, dtype=torch.float64).transpose(1, 2) if transposed else torch.randn(3, 5, 4).double()
    weight = weight.requires_grad_()
    out = grouped_linear(x, weight)
    assert out.is_contiguous()
    torch.testing.assert_close(out, torch.einsum("rgi,goi->rgo", x, weight))
    assert torch.autograd.gradcheck(grouped_linear, (x, weight))


def test_a_constant_side_gets_no_gradient() -> None:
    x, weight = torch.randn(7, 3, 4), torch.randn(3, 5, 4, requires_grad=True)
    grouped_linear(x, weight).sum().backward()
    wanted = x.sum(0)[:, None].expand(3, 5, 4)
    torch.testing.assert_close(weight.grad, wanted)


def test_product_with_a_transpose() -> None:
    torch.manual_seed(1)
    a, b = (torch.randn(3, n, 4, dtype=torch.float64, requires_grad=True) for n in (5, 6))
    torch.testing.assert_close(product_nt(a, b), torch.einsum("cid,cjd->cij", a, b))
    assert torch.autograd.gradcheck(product_nt, (a, b))
