"""Overlaps against counted pixels and torchvision."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from ask_lib.errors import ShapeError
from ask_lib.evaluate.localisation import box_iou, mask_iou
from tests import oracles

corner = st.integers(0, 9)
box = st.tuples(corner, corner, corner, corner).map(list)


@given(st.lists(st.tuples(box, box), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_box_iou_equals_counted_pixels(pairs: list[tuple[list[int], list[int]]]):
    """Boxes whose corners are out of order are empty."""
    first, second = torch.tensor([a for a, _ in pairs]), torch.tensor([b for _, b in pairs])
    expected = torch.tensor([oracles.box_iou(a, b) for a, b in pairs], dtype=torch.float64)
    torch.testing.assert_close(box_iou(first, second), expected)


def test_box_iou_is_torchvisions_diagonal():
    generator = torch.Generator().manual_seed(0)
    start, side = torch.rand(20, 2, generator=generator), torch.rand(20, 2, generator=generator) + 0.1
    first = torch.cat([start, start + side], dim=1)
    second = first.roll(1, dims=0)
    expected = torchvision.ops.box_iou(first.double(), second.double()).diagonal()
    torch.testing.assert_close(box_iou(first, second), expected)


def test_overlaps_by_hand():
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4], [1, 1, 1, 5]])
    targets = torch.tensor([[0, 0, 4, 4], [0, 0, 2, 4], [4, 0, 8, 4], [1, 1, 1, 5]])
    iou = box_iou(boxes, targets)
    assert iou.tolist() == [1.0, 0.5, 0.0, 0.0]


def test_of_nothing():
    assert box_iou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_mask_iou_by_hand_and_against_boxes():
    masks = torch.zeros(4, 6, 8, dtype=torch.bool)
    targets = torch.zeros(4, 6, 8, dtype=torch.bool)
    masks[0, 1:4, 2:6] = targets[0, 2:6, 3:8] = masks[1, 0, 0] = targets[2, 0, 0] = True
    assert mask_iou(masks, targets)[1:].tolist() == [0.0, 0.0, 1.0]  # two empty masks agree
    boxes = torch.tensor([[2, 1, 6, 4]]), torch.tensor([[3, 2, 8, 6]])
    assert mask_iou(masks, targets)[0].item() == pytest.approx(box_iou(*boxes).item())
    assert torch.equal(mask_iou(masks, targets), mask_iou(targets, masks))


def test_errors_say_what_to_do():
    with pytest.raises(ShapeError, match="half open"):
        box_iou(torch.zeros(4), torch.zeros(4))
    with pytest.raises(ShapeError, match="One target"):
        box_iou(torch.zeros(2, 4), torch.zeros(3, 4))
    with pytest.raises(ShapeError, match="resize_mask"):
        mask_iou(torch.zeros(1, 7, 7), torch.zeros(1, 14, 14))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu():
    boxes = torch.randint(0, 50, (100, 4), generator=torch.Generator().manual_seed(0))
    targets = boxes.roll(1, dims=0)
    torch.testing.assert_close(box_iou(boxes.cuda(), targets.cuda()).cpu(), box_iou(boxes, targets))
    masks = torch.rand(2, 5, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(mask_iou(*masks.cuda()).cpu(), mask_iou(*masks))
