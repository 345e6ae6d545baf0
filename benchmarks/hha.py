"""HHA of one depth frame beside the usual Python port's steps in plain numpy: ``python -m benchmarks.hha``.

The port (charlesCXK/Depth2HHA-python) is another's code and no part of this repository: its steps are written anew
here, without the rotation of normals and points that its result does not need.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ask_lib.methods.hha import hha
from benchmarks.alternate import Timing, alternate, table

GOAL = 0.25  # seconds, 480 x 640, one core
Array = NDArray[np.float64]


def plain_hha(depth: Array, camera: Array) -> NDArray[np.uint8]:
    """HHA of depth ``(H, W)``, metres, nowhere missing: uint8, ``(H, W, 3)``."""
    rows, columns = np.indices(depth.shape) + 1
    z = 100 * depth
    x, y = (columns - camera[0, 2]) * z / camera[0, 0], (rows - camera[1, 2]) * z / camera[1, 1]
    points = np.stack([x, y, z], axis=2)  # (H, W, 3), cm
    fine, coarse = plain_normals(points, 3), plain_normals(points, 10)
    down = plain_gravity(coarse.reshape(-1, 3))
    up = -points @ down
    cosine = np.clip(fine @ down, -1, 1)
    angle = np.array([math.degrees(math.acos(each)) for each in cosine.flat]).reshape(z.shape)
    height = up - (up.min() if up.min() <= -90 else -130)
    levels = np.stack([31000 / np.maximum(z, 100), height, angle + 38], axis=2)
    picture: NDArray[np.uint8] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return picture


def plain_normals(points: Array, radius: int) -> Array:
    """Planes a X + b Y + c Z = 1 through each window of points ``(H, W, 3)``, by the normal equations' adjugate."""
    from scipy.signal import convolve2d

    x, y, z = np.moveaxis(points, 2, 0)
    u, v = x / z, y / z
    terms = (u * u, u * v, u, v * v, v, np.ones_like(z), u / z, v / z, 1 / z)
    window = np.ones((2 * radius + 1, 2 * radius + 1))
    uu, uv, su, vv, sv, n, qu, qv, q = (convolve2d(term, window, mode="same") for term in terms)
    a = (vv * n - sv * sv) * qu + (su * sv - uv * n) * qv + (uv * sv - su * vv) * q
    b = (su * sv - uv * n) * qu + (uu * n - su * su) * qv + (uv * su - uu * sv) * q
    c = (uv * sv - su * vv) * qu + (uv * su - uu * sv) * qv + (uu * vv - uv * uv) * q
    normals = np.stack([a, b, c], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    away = np.where((normals * points).sum(axis=2, keepdims=True) < 0, -1, 1)
    return normals * away


def plain_gravity(normals: Array) -> Array:
    """The direction to which most normals ``(N, 3)`` are parallel or orthogonal: ``(3,)``."""
    down = np.array([0.0, 1.0, 0.0])
    for angle in np.radians([45] * 5 + [15] * 5):
        cosine = abs(normals @ down)
        floor, wall = normals[cosine > np.cos(angle)], normals[cosine < np.sin(angle)]
        least = np.linalg.eigh(wall.T @ wall - floor.T @ floor)[1][:, 0]
        down = least * np.sign(least @ down)
    return down


def floor_and_wall(height: int, width: int, tilt: float = 0.2) -> tuple[Array, Array]:
    """Depth, in metres, of a floor 1.2 m below a tilted camera and a wall 3 m before it, with noise; and the camera."""
    focal = 0.8 * width
    camera = np.array([[focal, 0, (width + 1) / 2], [0, focal, (height + 1) / 2], [0, 0, 1]])
    slope = (np.arange(height) - (height - 1) / 2)[:, None] / focal  # of each row's rays
    down, ahead = slope * math.cos(tilt) + math.sin(tilt), math.cos(tilt) - slope * math.sin(tilt)
    depth = np.minimum(1.2 / np.maximum(down, 0.1), 3 / ahead)  # (H, 1)
    return depth * (1 + 0.002 * np.random.default_rng(0).standard_normal((height, width))), camera


def processor_seconds(run: Callable[[], object], rounds: int) -> float:
    """Least processor time of some rounds: what one core needs, however busy the machine."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def compare(height: int, width: int, rounds: int, device: str) -> list[Timing]:
    """The plain form and the library on one frame; one pixel in a thousand may differ, by a grey level."""
    depth, camera = floor_and_wall(height, width)
    there = torch.from_numpy(depth).to(device)
    away = np.abs(hha(there, camera).astype(int) - plain_hha(depth, camera))
    if away.max() > 1 or away.mean() > 1e-3:
        raise AssertionError(f"the two differ by up to {away.max()} grey levels, {away.mean():.4f} in the mean")
    rivals: dict[str, Callable[[], object]] = {
        "plain numpy": lambda: plain_hha(depth, camera),
        "ask_lib": lambda: hha(there, camera),
    }
    return alternate(rivals, rounds, warm_up=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, and the library's processor time beside the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=[480, 640], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    height, width = options.size
    print(f"HHA of {height} x {width}, one thread")
    print(table(compare(height, width, options.rounds, "cpu")))
    frame = floor_and_wall(height, width)
    seconds = processor_seconds(lambda: hha(*frame), options.rounds)
    print(f"ask_lib: {seconds:.3f} s of processor time; the goal for 480 x 640 is {GOAL:g} s")


if __name__ == "__main__":
    main()
