"""Rooms: geometry against closed form, masks against depth, determinism, options, splits, cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ask_lib.data.rooms import Rooms
from ask_lib.errors import ChoiceError, RangeError, ShapeError
from ask_lib.methods.hha import hha
from ask_scenes.rooms import (
    CATEGORIES,
    LABELS,
    SPLITS,
    RoomFrame,
    RoomOptions,
    content_hash,
    render_batch,
    render_room,
    scene_of,
    textures,
)
from ask_scenes.rooms.builder import Camera
from ask_scenes.rooms.cast import Pinhole, cast
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.layout import Scene
from ask_scenes.rooms.materials import TEXTURES, Material
from ask_scenes.rooms.options import QUALITIES
from ask_scenes.rooms.pack import pack
from ask_scenes.rooms.parts import Part, ball, box, cushion, post, sheet
from ask_scenes.rooms.render import cameras, draw
from ask_scenes.rooms.sensor import sense_depth

CPU = torch.device("cpu")
GREY = Material("plain", (0.5, 0.5, 0.5), (0.4, 0.4, 0.4))
SMALL = RoomOptions(size=(48, 64))
EXACT = RoomOptions(size=(60, 80), depth_noise=0.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def empty_scene(parts: tuple[Part, ...] = (), *, height: float = 1.5, pitch: float = 0.0) -> Scene:
    """A bare room of 4 x 6 x 3 m with the camera at its near wall, looking along +y."""
    scene = scene_of(0)
    camera = Camera((0.0, -2.9, height), 0.0, pitch, 0.0, math.radians(90))
    return replace(scene, size=(4.0, 6.0, 3.0), camera=camera, things=(), loose=parts, wall=GREY, floor=GREY)


def depth_of(scene: Scene, size: tuple[int, int] = (60, 80)) -> torch.Tensor:
    return cast(pack([scene], CPU), cameras([scene], *size, CPU)).distance[0]


# --- geometry


def test_floor_and_wall_depths_are_those_of_planes() -> None:
    depth = depth_of(empty_scene())
    focal = 40.0  # 90 degrees over 80 pixels
    row = 59
    down = (row - 29.5) / focal
    assert depth[row, 40] == pytest.approx(1.5 / down, rel=1e-5)
    assert depth[30, 40] == pytest.approx(5.9, rel=1e-5)  # the wall ahead, at y = 3
    odd = depth_of(empty_scene(), (57, 76))  # a row of rays that run level, along no wall's normal
    assert (odd > 1).all()
    assert (depth_of(empty_scene(), (63, 84)) > 1).all()
    assert depth[30, 0] == pytest.approx(2.0 / (39.5 / focal), rel=1e-5)  # the wall at x = -2


def test_a_tilted_camera_sees_the_floor_where_it_should() -> None:
    depth = depth_of(empty_scene(pitch=-0.4))
    down = (45 - 29.5) / 40.0
    # A ray 1 ahead and `down` below, turned down by the pitch, meets the floor 1.5 m lower.
    fall = math.sin(0.4) + down * math.cos(0.4)
    assert depth[45, 40] == pytest.approx(1.5 / fall, rel=1e-4)


def test_box_front_and_corners() -> None:
    scene = empty_scene((box(0.0, 0.0, 0.5, 1.0, 1.0, 2.0, GREY),))
    view = cameras([scene], 60, 80, CPU)
    found = cast(pack([scene], CPU), view)
    assert found.distance[0, 30, 40] == pytest.approx(2.4, rel=1e-5)  # the face at y = -0.5
    seen = (found.distance[0] - 2.4).abs() < 1e-3
    rows, columns = torch.nonzero(seen).T
    half = 0.5 / 2.4 * 40.0
    assert columns.min() == math.ceil(39.5 - half) and columns.max() == math.floor(39.5 + half)
    assert rows.min() == math.ceil(29.5 - (2.5 - 1.5) / 2.4 * 40) and rows.max() == math.floor(29.5 + 1.0 / 2.4 * 40)


def test_sphere_depth_is_closed_form() -> None:
    depth = depth_of(empty_scene((ball(0.3, 0.0, 1.4, 1.0, 1.0, 1.0, GREY),)))
    for y, x in ((30, 44), (28, 46), (33, 42)):
        way = np.array([(x - 39.5) / 40, 1.0, -(y - 29.5) / 40])
        start = np.array([0.0, -2.9, 1.5]) - np.array([0.3, 0.0, 1.4])
        a, b, c = way @ way, way @ start, start @ start - 0.25
        assert depth[y, x] == pytest.approx((-b - math.sqrt(b * b - a * c)) / a, rel=1e-4)


def test_cylinder_and_cone_depth_are_closed_form() -> None:
    straight = depth_of(empty_scene((post(0, 0, 0.5, 0.5, 2.0, GREY),)))
    assert straight[29:31, 39:41].min() == pytest.approx(2.4, abs=2e-3)
    cone = depth_of(empty_scene((post(0, 0, 0.5, 0.5, 2.0, GREY, top=0.0),)))
    assert cone[29:31, 39:41].mean() == pytest.approx(2.9 - 0.25, abs=8e-3)  # half the radius at half its height


def test_rounded_box_lies_inside_its_box_and_touches_its_faces() -> None:
    sharp = depth_of(empty_scene((box(0, 0, 1.0, 1.0, 1.0, 1.0, GREY),)))
    soft = depth_of(empty_scene((cushion(0, 0, 1.0, 1.0, 1.0, 1.0, GREY, 0.2),)))
    assert (soft >= sharp - 5e-3).all()
    assert soft[30, 40] == pytest.approx(float(sharp[30, 40]), abs=1e-3)
    assert (soft < 3).sum() < (sharp < 3).sum()  # its corners are gone


def test_a_print_is_seen_but_has_no_depth() -> None:
    bare = depth_of(empty_scene())
    scene = empty_scene((replace(sheet(0, 3.0, 1.5, 2.0, 1.0, GREY), rotation=((-1, 0, 0), (0, -1, 0), (0, 0, 1))),))
    found = cast(pack([scene], CPU), cameras([scene], 60, 80, CPU))
    assert found.shape[0, 30, 40] == 6
    assert torch.allclose(found.distance[0], bare, atol=1e-4)


def test_culling_to_rectangles_loses_nothing() -> None:
    for index in (2, 4, 7):
        scene = scene_of(index)
        shapes = pack([scene], CPU)
        view = cameras([scene], 24, 32, CPU)
        fast = cast(shapes, view)
        wide = cast(shapes, _Everywhere(view.scene, view.place, view.rotation, view.focal, 24, 32))
        assert torch.equal(fast.shape, wide.shape)


class _Everywhere(Pinhole):
    """A camera that takes the whole picture as every shape's rectangle."""

    def project(self, view: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, y, _ = super().project(view, points)
        x, y = torch.zeros_like(x), torch.zeros_like(y)
        x[:, 1], y[:, 1] = self.width, self.height
        return x, y, torch.ones_like(x, dtype=torch.bool)


def test_intrinsics_and_pose_round_trip() -> None:
    frame = render_room(6, options=EXACT)
    points = frame.points()
    room = scene_of(6).size
    floor = frame.instance == 4
    assert floor.any() and np.abs(points[floor][:, 2]).max() < 2e-3
    back = frame.instance == 3
    assert back.any() and np.abs(points[back][:, 1] - room[1] / 2).max() < 2e-3
    inverse = np.linalg.inv(frame.pose)
    local = points @ inverse[:3, :3].T + inverse[:3, 3]
    pixel = local @ frame.intrinsics.T
    x, y = np.meshgrid(np.arange(80), np.arange(60))
    assert np.allclose(pixel[..., 0] / pixel[..., 2], x, atol=1e-3)
    assert np.allclose(pixel[..., 1] / pixel[..., 2], y, atol=1e-3)
    assert np.linalg.det(frame.pose[:3, :3]) == pytest.approx(1.0, abs=1e-5)


def test_normals_agree_with_the_exact_depth() -> None:
    frame = render_room(3, options=EXACT)
    assert np.allclose(np.linalg.norm(frame.normal, axis=0), 1, atol=1e-4)
    world = np.einsum("ij,jhw->hwi", frame.pose[:3, :3], frame.normal)
    assert np.allclose(world[frame.instance == 4], [0, 0, 1], atol=1e-4)
    assert np.allclose(world[frame.instance == 3], [0, -1, 0], atol=1e-4)


# --- masks


def test_masks_lie_inside_the_bounds_of_their_things() -> None:
    for index in (1, 8):
        frame, scene = render_room(index, options=EXACT), scene_of(index)
        points = frame.points()
        for number, thing in enumerate(scene.things):
            mask = frame.instance == number + 6
            if not mask.any():
                continue
            low, high = np.array(thing.bounds[:3]) - 0.01, np.array(thing.bounds[3:]) + 0.01
            assert (points[mask] >= low).all() and (points[mask] <= high).all()
            assert (frame.key_mask[mask] == (thing.role == "key")).all()
            assert (frame.category[mask] == CATEGORIES.index(thing.design.category)).all()


# --- what a frame depends on


@pytest.fixture(scope="module")
def some_frames() -> list[RoomFrame]:
    torch.set_num_threads(1)
    return render_batch(list(range(20)), split="val", options=SMALL)


def test_same_alone_and_in_a_batch(some_frames: list[RoomFrame]) -> None:
    for index in (0, 13, 19):
        alone, together = render_room(index, split="val", options=SMALL), some_frames[index]
        assert alone.meta == together.meta
        assert (alone.instance != together.instance).mean() < 1e-3
        assert (np.abs(alone.rgb.astype(int) - together.rgb) > 1).mean() < 1e-3


def test_same_twice() -> None:
    first, second = render_room(4, options=SMALL), render_room(4, options=SMALL)
    assert np.array_equal(first.rgb, second.rgb) and np.array_equal(first.depth, second.depth)


PINNED = "5d687f803fa9a9e7"
PINNED_BLOCKS = [[58.0, 121.7, 81.5, 66.2], [66.1, 137.5, 96.6, 91.3], [132.8, 148.3, 140.9, 114.4]]
PINNED_DEPTH = [[3.621, 3.561, 3.588, 3.455], [3.714, 3.658, 3.579, 3.408], [2.201, 2.208, 2.215, 2.222]]
PINNED_DRAWS = [9, 2, 2, 1, 2, 7, 7, 6]


def test_layout_is_pinned() -> None:
    digests = "".join(content_hash(scene_of(index, split=split)) for split in SPLITS for index in range(10))
    assert hashlib.sha256(digests.encode()).hexdigest()[:16] == PINNED, "bump VERSION and give the reason"


def test_pixels_are_pinned_loosely() -> None:
    frame = render_room(0, split="val", options=SMALL)
    blocks = frame.rgb.reshape(3, 3, 16, 4, 16).mean((2, 4)).mean(0)  # (3, 4)
    assert np.allclose(blocks, PINNED_BLOCKS, atol=2.0)
    depth = frame.exact_depth.reshape(3, 16, 4, 16).mean((1, 3))
    assert np.allclose(depth, PINNED_DEPTH, atol=0.02)


def test_every_texture_has_its_painter() -> None:
    assert set(textures._PAINTERS) == set(TEXTURES) - {"plain"}


def test_draws_are_pinned() -> None:
    draws = Draws("a", 1)
    assert [draws.integer(0, 9) for _ in range(8)] == PINNED_DRAWS
    assert Draws("a", 1).unit() != Draws("a", 2).unit()
    many = Draws("b").normals(20000)
    assert abs(many.mean()) < 0.03 and many.std() == pytest.approx(1, abs=0.03)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_on_the_gpu() -> None:
    here = render_batch(list(range(10)), options=SMALL)
    there = render_batch(list(range(10)), options=SMALL, device="cuda")
    for a, b in zip(here, there, strict=True):
        assert (np.abs(a.rgb.astype(int) - b.rgb) > 1).mean() < 1e-2
        assert (np.abs(a.exact_depth - b.exact_depth) > 1e-3).mean() < 1e-2


def test_labels_are_balanced_and_classes_have_their_objects(some_frames: list[RoomFrame]) -> None:
    counts = np.bincount([frame.label for frame in some_frames], minlength=10)
    assert (counts == 2).all()
    seen = np.array([frame.key_mask.mean() for frame in some_frames])
    assert (seen > 0.002).mean() >= 0.95
    assert 0.05 < seen.mean() < 0.6


def test_every_class_has_three_kinds_of_key_objects() -> None:
    for label, name in enumerate(LABELS):
        scenes = [scene_of(index, label=label) for index in range(12)]
        kinds = {thing.design.category for scene in scenes for thing in scene.things if thing.role == "key"}
        assert len(kinds) >= 3, name
        assert all(len([t for t in scene.things if t.role == "key"]) >= 2 for scene in scenes), name


def test_what_is_beside_the_key_objects_does_not_know_the_class() -> None:
    # Same key and attempt, different label: the same room, light and distractors.
    pairs = [(scene_of(i, label=0), scene_of(i, label=1)) for i in range(12)]
    same = [a for a, b in pairs if a.camera == b.camera]
    assert len(same) >= 3
    for first, second in pairs:
        if first.camera == second.camera:
            mine = [t.design.category for t in first.things if t.role == "distractor" and t.parent < 0]
            yours = [t.design.category for t in second.things if t.role == "distractor" and t.parent < 0]
            assert mine == yours and first.lamps == second.lamps and first.wall == second.wall


def test_splits_are_disjoint() -> None:
    digests = {split: {content_hash(scene_of(index, split=split)) for index in range(20)} for split in SPLITS}
    assert len(set.union(*digests.values())) == 20 * len(SPLITS)
    assert content_hash(scene_of(0, seed=0)) != content_hash(scene_of(0, seed=1))


# --- options


def test_removing_key_objects_leaves_all_else_in_place() -> None:
    whole = render_room(6, options=EXACT)
    less = render_room(6, options=replace(EXACT, remove_key_objects=True))
    assert whole.key_mask.any() and not less.key_mask.any()
    names = {number for number, t in enumerate(scene_of(6).things, 6) if t.parent < 0 and t.role != "key"}
    stays = np.isin(whole.instance, [*range(6), *names])
    assert np.array_equal(whole.instance[stays], less.instance[stays])
    assert np.array_equal(whole.exact_depth[stays], less.exact_depth[stays])
    assert (less.exact_depth[whole.key_mask] >= whole.exact_depth[whole.key_mask] - 1e-5).all()
    assert np.array_equal(whole.pose, less.pose)


def test_removing_distractors_leaves_the_key_objects() -> None:
    index = 17
    whole = render_room(index, options=EXACT)
    less = render_room(index, options=replace(EXACT, remove_distractors=True))
    kept = {CATEGORIES[c] for c in np.unique(less.category[~less.key_mask])}
    assert kept <= {"shell", "window", "door", "radiator", "ceiling_lamp"}
    assert less.key_mask[whole.key_mask].all()


def test_camera_and_noise_options() -> None:
    frame = render_room(1, options=replace(EXACT, camera_height=2.0, camera_pitch=-0.6))
    assert frame.pose[2, 3] == pytest.approx(2.0) and frame.pose[2, 2] == pytest.approx(-math.sin(0.6), abs=1e-6)
    assert np.array_equal(frame.depth, frame.exact_depth)
    noisy = render_room(1, options=replace(EXACT, depth_noise=1.0))
    there = noisy.depth > 0
    error = np.abs(noisy.depth - noisy.exact_depth)[there]
    assert 0.02 < 1 - there.mean() < 0.5 and 0.005 < np.median(error) < 0.15


def test_depth_noise_grows_with_the_square() -> None:
    normal = np.zeros((3, 120, 160), np.float32)
    normal[2] = -1
    spread = []
    for metres in (1.0, 2.0, 4.0):
        flat = np.full((120, 160), metres, np.float32)
        sensed = sense_depth(flat, normal, np.full_like(flat, 0.8), 1.0, Draws("noise"))
        spread.append(float((sensed - flat)[sensed > 0].std()))
    assert spread[1] / spread[0] == pytest.approx(4, rel=0.1) and spread[2] / spread[1] == pytest.approx(4, rel=0.1)


def test_dark_and_slanted_surfaces_lose_depth() -> None:
    flat = np.full((60, 80), 3.0, np.float32)
    facing, slanted = np.zeros((3, 60, 80)), np.zeros((3, 60, 80))
    facing[2], slanted[0], slanted[2] = -1, -0.995, -0.1
    lost = [
        (sense_depth(flat, normal, np.full_like(flat, albedo), 1.0, Draws("holes")) == 0).mean()
        for normal, albedo in ((facing, 0.8), (facing, 0.01), (slanted, 0.8))
    ]
    assert lost[0] < 0.02 < lost[1] and lost[2] > 0.1


def test_options_refuse_what_they_do_not_know() -> None:
    with pytest.raises(TypeError):
        RoomOptions(colour="red")  # type: ignore[call-arg]
    with pytest.raises(ShapeError):
        RoomOptions(size=(100, 100))
    with pytest.raises(RangeError):
        RoomOptions(depth_noise=-1)
    with pytest.raises(ChoiceError):
        render_room(0, label="garage")
    with pytest.raises(ChoiceError):
        render_room(0, split="tests")
    assert RoomOptions(size=[60, 80]) == RoomOptions(size=(60, 80))


def test_figure_quality_is_the_same_room() -> None:
    scene = scene_of(2)
    coarse = draw([scene], 48, 64, QUALITIES["dataset"], CPU)
    fine = draw([scene], 48, 64, QUALITIES["figure"], CPU)
    assert torch.equal(coarse.instance, fine.instance)
    assert (coarse.rgb - fine.rgb).abs().mean() < 0.06
    assert 0.1 < float(fine.rgb.mean()) < 0.9


# --- data set and cache

TINY = RoomOptions(size=(24, 32))


def test_data_set_shapes_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = Rooms("val", 20, options=replace(TINY, exact=True), root=tmp_path, progress=False)
    assert rooms.rgb.shape == (20, 3, 24, 32) and rooms.rgb.dtype == torch.uint8
    assert rooms.depth.shape == (20, 24, 32) and rooms.normal is not None and rooms.normal.shape == (20, 3, 24, 32)
    assert torch.bincount(rooms.label).tolist() == [2] * 10
    assert rooms[3]["label"] == 3 and len(rooms) == 20
    monkeypatch.setattr("ask_scenes.drawing.draw_shard", None)  # nothing is drawn again
    again = Rooms("val", 20, options=replace(TINY, exact=True), root=tmp_path, progress=False)
    assert torch.equal(rooms.rgb, again.rgb) and torch.equal(rooms.depth, again.depth)


def test_hha_is_that_of_each_frame_and_its_camera(tmp_path: Path) -> None:
    rooms = Rooms("val", 12, options=SMALL, root=tmp_path, progress=False)
    levels = rooms.hha()
    assert levels.shape == (12, 3, 48, 64) and levels.dtype == torch.uint8
    for i in (0, 9, 10, 11):
        focal = float(rooms.intrinsics[i, 0, 0])
        camera = np.array([[focal, 0, 32.5], [0, focal, 24.5], [0, 0, 1]])  # its axis meets the middle of 1 ... 64
        assert (levels[i].permute(1, 2, 0).numpy() == hha(rooms.depth[i].numpy(), camera)).all()
