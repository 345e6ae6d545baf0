"""Cross-layer pooling against loops in the paper's order, at its limits, and streamed to a file that resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from ask_lib.errors import CacheError, ChoiceError, RangeError, ShapeError
from ask_lib.methods.cross_layer_pooling import (
    NORMALIZATIONS,
    LargePCA,
    cross_layer_pool,
    dequantize,
    join,
    normalize,
    quantize,
    unfold,
)
from ask_lib.methods.descriptors import PCA, to_descriptors
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.represent import CrossLayer, cross_layer, extract, extract_to_file
from benchmarks.cross_layer_pooling import main as benchmark
from tests import oracles

sizes = st.integers(1, 5)


def maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: torch.Tensor, expected: object) -> None:
    wanted = expected if isinstance(expected, torch.Tensor) else torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


# --- pooling ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), sizes, sizes, st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_clp_1_equals_the_loops(m: int, n: int, height: int, width: int, stride: int, seed: int):
    """Tag: [CLP-1]. Patches of any size, a next layer with a stride."""
    local = maps(2, 3, height, width, seed=seed)
    patches = unfold(local, (m, n), stride)
    weights = maps(2, 4, *patches.shape[2:], seed=seed + 1).relu()
    expected = [oracles.cross_layer(x, a, m, n, stride) for x, a in zip(local.tolist(), weights.tolist(), strict=True)]
    close(cross_layer_pool(patches, weights), expected)


def test_a_patch_is_what_the_next_convolution_sees():
    local, kernel = maps(2, 3, 7, 8), maps(4, 3, 3, 3, seed=1)
    for stride in (1, 2):
        seen = functional.conv2d(local, kernel, stride=stride, padding=1)  # (B, 4, H', W')
        rows = kernel.permute(0, 2, 3, 1).flatten(1)  # row, column, channel
        close(torch.einsum("kd,bdyx->bkyx", rows, unfold(local, 3, stride)), seen)


def test_it_agrees_with_one_einsum():
    """Tag: [CLP-1]."""
    local, weights = maps(3, 5, 4, 6), maps(3, 7, 4, 6, seed=1)
    close(cross_layer_pool(local, weights), torch.einsum("bkyx,bdyx->bkd", weights, local).flatten(1))


def test_a_constant_weight_gives_the_sum_and_a_one_hot_one_its_cell():
    local = maps(2, 3, 4, 5)
    close(cross_layer_pool(local, torch.ones(2, 1, 4, 5, dtype=torch.float64)), local.sum(dim=(2, 3)))
    weights = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    weights[:, 0, 1, 3] = 1
    close(cross_layer_pool(local, weights), local[:, :, 1, 3])


def test_places_do_not_matter_where_both_move():
    local, weights = maps(2, 3, 4, 5), maps(2, 6, 4, 5, seed=1)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    moved = [each.flatten(2)[..., order].view(each.shape) for each in (local, weights)]
    close(cross_layer_pool(*moved), cross_layer_pool(local, weights))


def test_layers_of_unequal_size_meet_on_the_finer_grid():
    local, weights = maps(2, 3, 4, 6), maps(2, 5, 2, 3, seed=1)
    larger = weights.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    close(cross_layer_pool(local, weights), cross_layer_pool(local, larger))
    close(cross_layer_pool(weights, local), cross_layer_pool(larger, local))
    rows = weights.repeat_interleave(2, dim=2)  # finer in one direction, coarser in the other
    close(cross_layer_pool(rows, maps(2, 2, 2, 6)), cross_layer_pool(larger, maps(2, 2, 2, 6).repeat_interleave(2, 2)))


def test_a_batch_is_its_images_and_precision_is_single_at_least():
    local, weights = maps(3, 4, 5, 5), maps(3, 6, 5, 5, seed=1)
    whole = cross_layer_pool(local, weights)
    close(torch.cat([cross_layer_pool(local[i : i + 1], weights[i : i + 1]) for i in range(3)]), whole)
    local, weights = 100 * local.half(), 100 * weights.half()
    half = cross_layer_pool(local, weights)  # the sums overflow half precision
    torch.testing.assert_close(half, cross_layer_pool(local.float(), weights.float()))


def test_gradients_equal_small_differences():
    local, weights = maps(1, 2, 3, 3).requires_grad_(), maps(1, 2, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, a: normalize(cross_layer_pool(unfold(x, 3), a), 2), (local, weights))


# --- normalisation, PCA, quantisation -----------------------------------------------------------------------------


def test_the_default_is_the_ports_normalisation():
    pooled = maps(3, 20)
    close(normalize(pooled, 4), [oracles.port_normalized(row, 4) for row in pooled.tolist()])


def test_steps_are_taken_in_the_order_given():
    pooled = maps(2, 6)
    close(normalize(pooled, 3, ()), pooled)
    close(normalize(pooled, 3, ["channel"]).view(2, 3, 2).norm(dim=2), torch.ones(2, 3).double())
    close(normalize(pooled, 1, ["channel"]), normalize(pooled, 3, ["l2"]))
    assert not torch.allclose(normalize(pooled, 3, ["root", "l2"]), normalize(pooled, 3, ["l2", "root"]))
    close(torch.stack(torch.std_mean(normalize(pooled, 3, ["standardize"]), dim=1)), [[1.0, 1.0], [0.0, 0.0]])
    zeros = torch.zeros(1, 6)
    assert all(torch.equal(normalize(zeros, 3, [step]), zeros) for step in NORMALIZATIONS)


def test_joined_resolutions_count_alike():
    coarse, fine = maps(2, 6), 1000 * maps(2, 6, seed=1)
    close(join(coarse, fine).view(2, 2, 6).norm(dim=2), torch.ones(2, 2).double())
    close(join(coarse), normalize(coarse, 3, ["l2"]))


@pytest.mark.parametrize("solver", ["full", "randomized"])
def test_scikit_learns_axes_are_ours(solver: str):
    rows = maps(60, 8) * torch.tensor([9.0, 7, 5, 3, 1, 0.5, 0.3, 0.1])
    ours, theirs = PCA(3, whiten=True).fit(rows), LargePCA(3, whiten=True, solver=solver).fit(rows)
    torch.testing.assert_close(theirs.transform(rows), ours.transform(rows), rtol=1e-8, atol=1e-8)
    single = LargePCA(3, solver=solver).fit(rows.float()).transform(rows.float())
    torch.testing.assert_close(single.double(), PCA(3).fit(rows).transform(rows), rtol=1e-3, atol=1e-3)


def test_a_pca_of_all_axes_before_pooling_is_a_rotation_after_it():
    """Pooling is linear: with all axes, the sums are those about the mean, turned."""
    given = {"low": maps(4, 3, 5, 5), "high": maps(4, 2, 5, 5, seed=1).relu()}
    pca = LargePCA(3, solver="full")
    row = CrossLayer("low", "high", pca=pca, steps=()).fit(given)
    moved = given["low"] - pca.mean[:, None, None]
    sums = cross_layer_pool(moved, given["high"]).view(4, 2, 3)
    close(row(given), (sums @ pca.axes.T).flatten(1))


@given(st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_quantised_keeps_sign_and_zero_in_two_bits_or_one(dim: int, seed: int):
    vectors = maps(3, dim, seed=seed)
    vectors[vectors.abs() < 0.4] = 0
    code = quantize(vectors)
    assert torch.equal(dequantize(code, dim), vectors.sign().to(torch.int8))
    assert code.nbytes == 3 * 2 * -(-dim // 8)
    binary = quantize(vectors.relu(), signed=False)
    assert torch.equal(dequantize(binary, dim), vectors.relu().sign().to(torch.int8))
    assert 2 * binary.nbytes == code.nbytes


def test_after_relu_without_a_pca_it_is_binary_and_says_who_met():
    local, weights = maps(2, 3, 2, 2).relu(), maps(2, 4, 2, 2, seed=1).relu()
    met = torch.einsum("bkyx,bdyx->bkd", (weights > 0).double(), (local > 0).double()) > 0
    found = dequantize(quantize(cross_layer_pool(local, weights), signed=False), 12)
    assert torch.equal(found.bool(), met.flatten(1))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="same images"):
        cross_layer_pool(maps(2, 3, 4, 4), maps(1, 3, 4, 4))
    with pytest.raises(ShapeError, match="equal length"):
        normalize(maps(2, 7), 3)
    with pytest.raises(ChoiceError, match="standardize"):
        normalize(maps(2, 6), 3, ["standardise"])
    for size, stride in ((0, 1), ((3, 0), 1), (3, 0)):
        with pytest.raises(RangeError):
            unfold(maps(1, 1, 2, 2), size, stride)
    for bad, signed in ((torch.tensor([[torch.nan]]), True), (torch.tensor([[-1.0]]), False)):
        with pytest.raises(RangeError, match="no sign"):
            quantize(bad, signed=signed)
    with pytest.raises(RangeError, match="dim"):
        LargePCA(9).fit(maps(10, 8))
    with pytest.raises(RangeError, match="number of vectors"):
        LargePCA(9).fit(maps(8, 10))
    with pytest.raises(RangeError, match="nothing to fit"):
        CrossLayer("low", "high").fit({})


# --- as a representation, and in a file ----------------------------------------------------------------------------

ROW = CrossLayer("relu5_2", "pool5", kernel_size=(1, 2))


@pytest.fixture(scope="module")
def vgg() -> Backbone:
    return load_backbone("objects_vgg", "objects")


def pictures(count: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 48, 64), generator=generator, dtype=torch.uint8)


def test_a_row_pools_patches_and_looks_where_the_next_layer_responds():
    given = {"relu5_2": maps(2, 3, 4, 6).relu(), "pool5": maps(2, 5, 2, 3, seed=1).relu()}
    pooled = cross_layer_pool(unfold(given["relu5_2"], (1, 2)), given["pool5"])
    close(ROW(given), normalize(pooled, 5))
    strided = CrossLayer("relu5_2", "pool5", kernel_size=3, stride=2, steps=())
    close(strided(given), cross_layer_pool(unfold(given["relu5_2"], 3, 2), given["pool5"]))
    looked = ROW.weights(given)
    assert looked.shape == (2, 4, 6)
    close(looked[:, ::2, ::2], given["pool5"].sum(dim=1))


def test_a_pca_is_fitted_on_the_patches():
    given = [{"low": maps(4, 3, 5, 5), "high": maps(4, 2, 5, 5)}, {"low": maps(2, 3, 4, 4), "high": maps(2, 2, 4, 4)}]
    row = CrossLayer("low", "high", kernel_size=3, pca=PCA(4)).fit(*given)
    rows = torch.cat([to_descriptors(unfold(each["low"], 3)).flatten(0, 1) for each in given])
    assert row.pca is not None and torch.equal(row.pca.axes, PCA(4).fit(rows).axes)
    assert row(given[1]).shape == (2, 8)


def test_a_file_holds_what_extract_gives(vgg: Backbone, tmp_path: Path):
    images, path = pictures(), tmp_path / "new" / "clp.npy"
    found = extract_to_file(path, vgg, images, ROW, block=2, progress=False)
    assert isinstance(found, np.memmap) and not found.flags.writeable
    wanted = extract(vgg, images, ROW, progress=False)
    torch.testing.assert_close(torch.from_numpy(np.array(found)), wanted, rtol=1e-3, atol=1e-4)  # roots of small sums
    half = extract_to_file(tmp_path / "half.npy", vgg, images, ROW, block=2, dtype="float16", progress=False)
    assert half.dtype == np.float16 and half.nbytes * 2 == found.nbytes


def test_a_stopped_run_goes_on_and_ends_the_same(vgg: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images, path, done = pictures(), tmp_path / "clp.npy", []

    def stops(backbone: Backbone, part: list[torch.Tensor], *rest: object, **how: object) -> torch.Tensor:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(part))
        return extract(backbone, part, *rest, **how)  # type: ignore[arg-type,no-any-return]

    monkeypatch.setattr(cross_layer, "extract", stops)
    with pytest.raises(KeyboardInterrupt):
        extract_to_file(path, vgg, images, ROW, block=2, progress=False)
    done.append(0)  # three: it runs again
    found = extract_to_file(path, vgg, images, ROW, block=2, progress=False)
    assert done == [2, 2, 0, 1]
    whole = extract_to_file(tmp_path / "whole.npy", vgg, images, ROW, block=2, progress=False)
    assert np.array_equal(found, whole)
    before = len(done)
    assert np.array_equal(extract_to_file(path, vgg, images, ROW, block=2, progress=False), whole)
    assert len(done) == before


def test_another_file_is_not_gone_on_with(vgg: Backbone, tmp_path: Path):
    images, path = pictures(), tmp_path / "clp.npy"
    extract_to_file(path, vgg, images, ROW, block=2, progress=False)
    changed = images.clone()
    changed[3] = 0
    plain = CrossLayer("relu5_2", "pool5")
    for pics, row, dtype in ((changed, ROW, "float32"), (images, plain, "float32"), (images, ROW, "float16")):
        with pytest.raises(CacheError, match="other vectors"):
            extract_to_file(path, vgg, pics, row, block=2, dtype=dtype, progress=False)
    path.unlink()
    with pytest.raises(CacheError, match="note"):
        extract_to_file(path, vgg, images, ROW, block=2, progress=False)
    with pytest.raises(RangeError, match="block"):
        extract_to_file(path, vgg, images, ROW, block=0)


def test_the_benchmark_agrees_with_the_bare_product_and_prints_ratios(capsys: pytest.CaptureFixture[str]):
    benchmark(["--batch", "2", "--channels", "8", "--sides", "5", "--rounds", "2"])
    assert "5x5" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu():
    local, weights = maps(4, 16, 8, 8), maps(4, 12, 4, 4, seed=1).relu()
    patches = unfold(local.cuda(), 3)
    found = normalize(cross_layer_pool(patches, weights.cuda()), 12)
    torch.testing.assert_close(found.cpu(), normalize(cross_layer_pool(unfold(local, 3), weights), 12))
    assert np.array_equal(quantize(found), quantize(found.cpu()))
