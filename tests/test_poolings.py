"""What holds for every pooling in the registry: a new one is tested here as soon as its line is there."""

from __future__ import annotations

import pytest
import torch

from ask_lib.errors import ShapeError
from ask_lib.methods.descriptors import l2_normalize
from ask_lib.methods.encoding import ORDERLESS, POOLINGS, Pooling, gem
from ask_lib.methods.scda import scda

EVERY = list((POOLINGS | {"scda": scda}).items())
every = pytest.mark.parametrize("pool", [pool for _, pool in EVERY], ids=[name for name, _ in EVERY])


def maps(batch: int = 2, channels: int = 6, height: int = 5, width: int = 7) -> torch.Tensor:
    """After a ReLU, as a third of the cells are 0; not square; double precision."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64).sub(0.3).relu()


def masks() -> torch.Tensor:
    return torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(1)) < 0.5


@every
@pytest.mark.parametrize("mask", [None, masks()], ids=["all", "masked"])
def test_a_batch_of_two_is_two_of_one(pool: Pooling, mask: torch.Tensor | None):
    whole = pool(maps(), mask)
    single = [pool(maps()[at : at + 1], None if mask is None else mask[at : at + 1]) for at in range(2)]
    assert whole.ndim == 2 and len(whole) == 2 and whole.dtype == torch.float64
    torch.testing.assert_close(whole, torch.cat(single), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("pool", ORDERLESS.values(), ids=list(ORDERLESS))
def test_the_cells_order_does_not_matter(pool: Pooling):
    order = torch.randperm(35, generator=torch.Generator().manual_seed(2))
    permuted = maps().flatten(2)[:, :, order].view(2, 6, 5, 7)
    torch.testing.assert_close(pool(permuted), pool(maps()), rtol=1e-12, atol=1e-14)
    shuffled = masks().flatten(1)[:, order].view(2, 5, 7)
    torch.testing.assert_close(pool(permuted, shuffled), pool(maps(), masks()), rtol=1e-12, atol=1e-14)


@every
def test_the_channels_order_comes_back(pool: Pooling):
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    expected = pool(maps()).unflatten(1, (-1, 6))[:, :, order].flatten(1)
    torch.testing.assert_close(pool(maps()[:, order]), expected, rtol=1e-12, atol=1e-14)


@every
def test_a_factor_does_not_change_the_direction(pool: Pooling):
    one, three = pool(maps()), pool(3 * maps())
    assert one.any(dim=1).all()
    torch.testing.assert_close(l2_normalize(three), l2_normalize(one), rtol=1e-5, atol=1e-7)


@every
def test_an_empty_mask_gives_zero_and_no_broken_gradient(pool: Pooling):
    features, mask = maps().requires_grad_(), masks()
    mask[1] = False
    vectors = pool(features, mask)
    assert vectors[0].any() and not vectors[1].any()
    (gradient,) = torch.autograd.grad(vectors.sum(), features)
    assert gradient.isfinite().all() and not gradient[1].any()


@every
def test_what_the_mask_drops_has_no_say(pool: Pooling):
    mask = masks()
    wild = torch.where(mask[:, None], maps(), 1e6)
    torch.testing.assert_close(pool(wild, mask), pool(maps(), mask), rtol=1e-12, atol=1e-14)
    full = torch.ones(2, 5, 7, dtype=torch.bool)
    if pool is not scda:  # whose None is its own mask
        torch.testing.assert_close(pool(maps(), full), pool(maps()), rtol=1e-12, atol=1e-14)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mask", [None, masks()], ids=["all", "masked"])
def test_half_precision_comes_near_and_does_not_overflow(pool: Pooling, dtype: torch.dtype, mask: torch.Tensor | None):
    large = (300 * maps().repeat(1, 50, 1, 1)).to(dtype)  # channels and cells add up to more than 65,504
    found, wide = pool(large, mask), pool(large.double(), mask)
    assert found.isfinite().all()
    torch.testing.assert_close(l2_normalize(found.double()), l2_normalize(wide), rtol=3e-2, atol=1e-3)


@every
@pytest.mark.parametrize("mask", [None, masks()[:1, :4, :5]], ids=["all", "masked"])
def test_gradients_are_right(pool: Pooling, mask: torch.Tensor | None):
    noise = torch.rand(1, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))  # no ties
    features = (maps()[:1, :2, :4, :5] + 0.05 * noise).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool(x, mask), (features,))


@every
def test_one_cell_is_a_map_and_none_is_not(pool: Pooling):
    assert pool(torch.ones(1, 4, 1, 1)).isfinite().all()
    with pytest.raises(ShapeError, match="at least one cell"):
        pool(torch.zeros(2, 4, 0, 3))


@every
def test_shapes_that_do_not_fit_are_refused_with_advice(pool: Pooling):
    with pytest.raises(ShapeError, match=r"features\[None\]"):
        pool(torch.zeros(3, 4, 4))
    with pytest.raises(ShapeError, match="own grid"):
        pool(maps(), masks()[:, :4])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every
def test_cuda_equals_the_cpu(pool: Pooling):
    for mask in (None, masks()):
        there = pool(maps().cuda(), None if mask is None else mask.cuda()).cpu()
        torch.testing.assert_close(there, pool(maps(), mask), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("p", "dtype"), [(5.0, torch.float32), (9.0, torch.float32), (3.0, torch.float16)])
def test_gem_does_not_overflow_on_what_the_mask_drops(p: float, dtype: torch.dtype):
    features = torch.zeros(1, 2, 2, 2, dtype=dtype)
    features[0, :, 0, 0], features[0, 0, 1, 1] = 60.0, 1.0
    mask = torch.tensor([[[False, False], [True, True]]])
    assert torch.equal(gem(features, mask, p=p), gem(features[:, :, 1:], p=p))
