"""Where keypoints fall, against loops over images, keypoints and pixels."""

from __future__ import annotations

import math

import pytest
import torch

from ask_lib.errors import RangeError, ShapeError
from ask_lib.evaluate.keypoints import cell_counts, hit_rate, label_shares, labels_under

SIZE, IMAGE, LABELS = (3, 4), (10, 9), 5


def drawn(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(LABELS, (count, *IMAGE), generator=draw, dtype=torch.uint8)
    points = torch.rand(count, 7, 2, generator=draw) * torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0])
    return labels, points


def test_labels_under_keypoints_are_those_of_a_loop():
    labels, points = drawn()
    found = labels_under(labels, points, SIZE)
    for n in range(6):
        for m in range(6):
            for k in range(7):
                x, y = points[m, k].tolist()
                column, row = math.floor((x + 0.5) / SIZE[1] * IMAGE[1]), math.floor((y + 0.5) / SIZE[0] * IMAGE[0])
                assert found[n, m, k] == labels[n, row, column]


def test_on_a_map_of_the_images_size_a_keypoint_is_a_pixel():
    labels, _ = drawn(1)
    y, x = torch.meshgrid(torch.arange(10), torch.arange(9), indexing="ij")
    found = labels_under(labels, torch.stack([x, y], dim=2).view(1, 90, 2).float(), IMAGE)
    assert torch.equal(found.view(1, 10, 9), labels)


@pytest.mark.parametrize("point", [(-0.6, 0.0), (0.0, -0.6), (3.6, 0.0), (0.0, 2.6), (float("nan"), 0.0)])
def test_a_keypoint_outside_is_refused(point: tuple[float, float]):
    with pytest.raises(RangeError, match="keypoints"):
        labels_under(drawn(1)[0], torch.tensor([[point]]), SIZE)


def test_shares_are_those_of_a_loop():
    labels, points = drawn()
    classes = torch.tensor([0, 1, 0, 2, 1, 0])
    own, same = torch.eye(6) > 0, classes[:, None] == classes
    found = labels_under(labels, points, SIZE)
    for pairs in (own, ~same, same & ~own):
        shares = label_shares(found, pairs, LABELS)
        for n in range(6):
            under = [int(found[n, m, k]) for m in range(6) if pairs[n, m] for k in range(7)]
            if under:
                assert shares[n].tolist() == pytest.approx([under.count(each) / len(under) for each in range(LABELS)])
            else:
                assert n == 3 and shares[n].isnan().all()  # alone in its class
    own_masks = labels_under(labels == 2, points, SIZE)
    masked = hit_rate(label_shares(own_masks, own, 2), [1])
    assert torch.allclose(masked, label_shares(found, own, LABELS)[:, 2])


def test_keypoints_that_are_the_same_in_all_images_are_their_own_control():
    labels, points = drawn()
    found = labels_under(labels, points[:1].expand(6, -1, -1), SIZE)
    own = torch.eye(6) > 0
    assert torch.allclose(label_shares(found, own, LABELS), label_shares(found, ~own, LABELS))


def test_counts_of_cells_are_those_of_a_loop():
    labels, _ = drawn(2)
    counts = cell_counts(labels, SIZE, LABELS)
    wanted = torch.zeros(2, LABELS, *SIZE, dtype=torch.int64)
    for n in range(2):
        for row in range(10):
            for column in range(9):
                cell = math.floor((row + 0.5) * 3 / 10), math.floor((column + 0.5) * 4 / 9)
                wanted[n, int(labels[n, row, column]), cell[0], cell[1]] += 1
    assert torch.equal(counts, wanted) and counts.sum() == labels.numel()


def test_what_is_left_out_does_not_count():
    shares = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert hit_rate(shares, [1]).tolist() == [0.25, 0.0]
    assert hit_rate(shares, [1], [0])[0] == 0.5 and hit_rate(shares, [1], [0])[1].isnan()


def test_what_does_not_fit_is_refused():
    labels, points = drawn()
    found = labels_under(labels, points, SIZE)
    for wrong in (
        lambda: labels_under(labels[0], points, SIZE),
        lambda: labels_under(labels, points[..., :1], SIZE),
        lambda: label_shares(found, torch.eye(5) > 0, LABELS),
        lambda: cell_counts(labels[0], SIZE, LABELS),
        lambda: hit_rate(torch.rand(3), [1]),
    ):
        with pytest.raises(ShapeError):
            wrong()
    for wrong in (lambda: label_shares(found, torch.eye(6) > 0, 2), lambda: cell_counts(labels, SIZE, 2)):
        with pytest.raises(RangeError, match="label"):
            wrong()
