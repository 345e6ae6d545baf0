"""HHA: depth as three channels that a network of colour pictures can read (Gupta et al., 2014).

Horizontal disparity, height above the ground, and angle between the surface's normal and gravity, each a grey level.

Source: Gupta, Girshick, Arbeláez, Malik: Learning Rich Features from RGB-D Images for Object Detection and
Segmentation, ECCV 2014, and the authors' MATLAB code, whose pixels these are. The equations' names are the book's. Axes
are the camera's: x right, y down, z forward.

Departs from the code: a plane through points on one line has no normal (there it is what rounding makes of it); a pixel
without depth is black in all three channels (there it is as near as can be); and where gravity is not determined, as by
a single wall, it stays as it was.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from ask_lib.checks import check_device, check_range, check_shape
from ask_lib.errors import RangeError, ShapeError

FINE, COARSE = 3, 10  # pixels: radius of the windows for the angle, and for gravity
ROUNDS = (45.0,) * 5 + (15.0,) * 5  # degrees
NEAREST, DISPARITY = 100.0, 31000.0  # cm; grey levels times cm
FLOOR, FLOOR_BELOW = -130.0, -90.0  # cm: where the floor is taken to be if nothing lies deeper than the second
UPRIGHT, UNKNOWN = 38.0, 180.0  # grey levels of an angle of 0; degrees where there is no normal
FARTHEST = 100.0  # metres: a median above it is another unit
PLACES = (0, 0), (1, 1), (0, 2), (1, 2)  # of fx, fy, cx, cy in a camera's matrix
SIGMA_8BIT = 0.5  # pixels: the best for depth of 8 bits, results/hha_quantised.json
DRAW = 1e-9  # of all points: what the last direction weighs when the next one is chosen


def hha(
    depth: np.ndarray | torch.Tensor,
    intrinsics: np.ndarray | torch.Tensor,
    missing: np.ndarray | torch.Tensor | None = None,
    *,
    sigma: float = 0.0,
) -> np.ndarray:
    """HHA of one depth image, as a picture: `hha_batch` for arrays.

    >>> camera = np.array([[500.0, 0, 32], [0, 500.0, 24], [0, 0, 1]])
    >>> hha(np.full((48, 64), 2.0), camera)[24, 32]  # a wall 2 m away
    array([155, 130, 128], dtype=uint8)

    Args:
        depth: ``(H, W)``, metres, 0 = missing.
        intrinsics: ``(3, 3)``, pixels, for a picture of this size.
        missing: bool, ``(H, W)``, see `hha_batch`.
        sigma: See `hha_batch`.

    Returns:
        uint8, ``(H, W, 3)``: disparity, height, angle.

    Raises:
        ShapeError: If a shape does not fit.
        RangeError: As `hha_batch` does.
    """
    one = _tensor(depth)
    check_shape("depth", one, "HW", "For several, use hha_batch.")
    camera, hidden = (
        _tensor(intrinsics).to(one.device),
        None if missing is None else _tensor(missing).to(one.device)[None],
    )
    return hha_batch(one[None], camera, hidden, sigma=sigma)[0].permute(1, 2, 0).cpu().numpy()


def hha_batch(
    depth: torch.Tensor, intrinsics: torch.Tensor, missing: torch.Tensor | None = None, *, sigma: float = 0.0
) -> torch.Tensor:
    """[HHA-5] HHA of depth images, on their device, in float64.

    >>> camera = torch.tensor([[500.0, 0, 32], [0, 500.0, 24], [0, 0, 1]])
    >>> hha_batch(torch.full((1, 48, 64), 2.0), camera).shape
    torch.Size([1, 3, 48, 64])

    Args:
        depth: ``(B, H, W)``, metres, 0 = missing.
        intrinsics: ``(3, 3)`` or ``(B, 3, 3)``, pixels; the first pixel is 1, as in MATLAB.
        missing: bool, ``(B, H, W)``: pixels whose depth was filled in. They give no normals, but keep disparity and
            height, as in the authors' code. Those of depth 0 need not be named.
        sigma: Of `smooth`, pixels; 0 smooths nothing. For depth of 8 bits `SIGMA_8BIT` comes nearest to the truth.

    Returns:
        uint8, ``(B, 3, H, W)``: disparity (31000 / cm, nothing nearer than 1 m), height above the lowest point (cm),
        angle to gravity (degrees + 38). (0, 0, 0) where depth is 0.

    Raises:
        ShapeError: If a shape does not fit.
        RangeError: If depth is NaN, infinite or negative, zero everywhere, or has a median over 100 m; if the camera is
            none; if ``sigma`` is negative or as `smooth` says.
        AskError: If the arguments lie on several devices.
    """
    z = _checked(depth)
    camera = _cameras(intrinsics, z)
    z = smooth(z, sigma) if sigma else z
    known = measured = z > 0
    if missing is not None:
        check_shape("missing", missing, tuple(z.shape), "Give one for each pixel of depth.")
        check_device("missing", missing, z.device)
        measured = known & ~missing.to(torch.bool)
    fine, coarse = normals(z, camera, (FINE, COARSE), measured)
    down = gravity(coarse)  # (B, 3)
    disparity = DISPARITY / (100 * z).clamp(min=NEAREST)  # [HHA-5]
    height = _height(100 * z, camera, down, known)
    cosine = _dot(fine, down).clamp_(-1, 1)
    angle = torch.rad2deg(cosine.acos_()).nan_to_num_(nan=UNKNOWN) + UPRIGHT
    levels = torch.stack([disparity, height, angle], dim=1) * known[:, None]  # (B, 3, H, W)
    return levels.round_().clamp_(0, 255).to(torch.uint8)  # half to even


def smooth(depth: torch.Tensor, sigma: float) -> torch.Tensor:
    """Depth whose inverse is smoothed by a Gaussian; a plane stays a plane, and missing pixels add nothing.

    >>> smooth(torch.tensor([[[2.0, 2.0, 0.0]]]), sigma=1.0)
    tensor([[[2., 2., 0.]]])

    Args:
        depth: ``(B, H, W)``, 0 = missing; these stay missing.
        sigma: Of the Gaussian, pixels, above 0; cut off at three.

    Raises:
        RangeError: If ``sigma`` is not positive, or above the picture's longer side.
    """
    check_range("sigma", sigma, 0, max(depth.shape[1:]), open_low=True)
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=depth.dtype, device=depth.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    known = depth > 0
    both = torch.stack([torch.where(known, 1 / depth, 0), known.to(depth.dtype)], dim=1).flatten(0, 1)[:, None]
    both = functional.conv2d(both, kernel[None, None, :, None], padding=(reach, 0))
    both = functional.conv2d(both, kernel[None, None, None, :], padding=(0, reach))
    inverse, weight = both.view(-1, 2, *depth.shape[1:]).unbind(1)
    return torch.where(known, weight / inverse, 0)


def normals(
    depth: torch.Tensor, intrinsics: torch.Tensor, radii: tuple[int, ...], known: torch.Tensor
) -> list[torch.Tensor]:
    """[HHA-2] Unit normals, away from the camera: planes through each pixel's window, by least squares.

    A plane through points (X, Y, Z) is linear in the picture: 1/Z = a u + b v + c for pixels (u, v). So the sums of u,
    v, their products and those with 1/Z over the window give it, and sums over windows are differences of cumulated
    sums. The first six are whole numbers, exact in float64: if a window's points lie on one line, its determinant is
    zero.

    >>> camera = torch.tensor([[[500.0, 0, 2], [0, 500.0, 2], [0, 0, 1]]])
    >>> (wall,) = normals(torch.full((1, 4, 4), 2.0), camera, (1,), torch.ones(1, 4, 4, dtype=torch.bool))
    >>> wall[0, :, 2, 2]
    tensor([0., 0., 1.])

    Args:
        depth: ``(B, H, W)``, float64.
        intrinsics: ``(B, 3, 3)``, float64.
        radii: Pixels; a window is ``2 * radius + 1`` wide.
        known: bool, ``(B, H, W)``: pixels that count.

    Returns:
        ``(B, 3, H, W)`` for each radius; NaN where the window has no three points that span a plane.
    """
    height, width = depth.shape[1:]
    u0, v0 = width // 2, height // 2  # near the middle, so that the sums stay small
    u = torch.arange(width, dtype=depth.dtype, device=depth.device) - u0  # (W,)
    v = (torch.arange(height, dtype=depth.dtype, device=depth.device) - v0)[:, None]  # (H, 1)
    one, inverse = known.to(depth.dtype), torch.where(known, 1 / depth, 0)  # (B, H, W)
    terms = [one, one * u, one * v, one * u**2, one * (u * v), one * v**2, inverse, inverse * u, inverse * v]
    most = max(radii)
    sums = torch.stack(terms, dim=1).cumsum(dim=2).cumsum(dim=3)  # (B, 9, H, W)
    sums = functional.pad(functional.pad(sums, (1, 0, 1, 0)), (most, most, most, most), mode="replicate")
    fx, fy, cx, cy = (intrinsics[:, i, j, None, None] for i, j in PLACES)
    cu, cv = cx - u0 - 1, cy - v0 - 1  # pixels count from 1
    found = []
    for radius in radii:
        n, su, sv, suu, suv, svv, q, qu, qv = _windows(sums, radius, most).unbind(dim=1)
        uu, uv, vv = n * suu - su * su, n * suv - su * sv, n * svv - sv * sv  # about the window's mean
        qu, qv = n * qu - q * su, n * qv - q * sv
        determinant = uu * vv - uv * uv
        a, b = vv * qu - uv * qv, uu * qv - uv * qu  # times the determinant
        c = (determinant * q - a * su - b * sv) / n
        x, y, z = a * fx, b * fy, c + a * cu + b * cv  # [HHA-2]
        length = torch.where(determinant > 0, (x * x + y * y + z * z).sqrt(), torch.nan)
        found.append(torch.stack([x / length, y / length, z / length], dim=1))  # (B, 3, H, W)
    return found


def gravity(normals: torch.Tensor) -> torch.Tensor:
    """[HHA-3] The direction to which most surfaces are parallel or orthogonal, sought from straight down: ``(B, 3)``.

    In each of ten rounds, normals near the direction are the floor's, those near a right angle to it the walls'; the
    next direction is that of least squared cosine with the walls', less that with the floor's.

    >>> gravity(torch.tensor([[0.0, 0.8, 0.6], [1.0, 0.0, 0.0]]).T.view(1, 3, 1, 2))  # a floor seen from above, a wall
    tensor([[0.0000, 0.8000, 0.6000]])

    Args:
        normals: ``(B, 3, H, W)``, unit length or NaN.
    """
    n = normals.flatten(2).nan_to_num(nan=0.0)  # (B, 3, N)
    down = n.new_tensor([0.0, 1.0, 0.0]).expand(len(n), 3)
    for angle in ROUNDS:
        cosine = (down[:, None] @ n).abs_()  # (B, 1, N)
        floor, wall = cosine > math.cos(math.radians(angle)), cosine < math.sin(math.radians(angle))
        spread = (n * (wall.to(n.dtype) - floor.to(n.dtype))) @ n.mT / n.shape[2]  # (B, 3, 3)
        spread = spread - DRAW * down[:, :, None] * down[:, None]  # decides where all else is equal
        least = torch.linalg.eigh(spread).eigenvectors[:, :, 0]  # [HHA-3] (B, 3)
        turned = (least * down).sum(dim=1, keepdim=True) < 0
        down = torch.where(turned, -least, least)
    return down


def _windows(sums: torch.Tensor, radius: int, padding: int) -> torch.Tensor:
    """Sums over the windows about each pixel, ``(B, C, H, W)``, from cumulated ones with ``padding`` on each side."""
    height, width = sums.shape[2] - 1 - 2 * padding, sums.shape[3] - 1 - 2 * padding
    low, high = padding - radius, padding + radius + 1
    rows = sums[:, :, high : high + height] - sums[:, :, low : low + height]
    return rows[..., high : high + width] - rows[..., low : low + width]


def _height(z: torch.Tensor, camera: torch.Tensor, down: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """[HHA-4] Centimetres above the lowest known point, or above 130 below the camera if none lies 90 below it."""
    fx, fy, cx, cy = (camera[:, i, j, None, None] for i, j in PLACES)
    x = (torch.arange(1, z.shape[2] + 1, device=z.device) - cx) / fx  # (B, 1, W), of the ray with z = 1
    y = (torch.arange(1, z.shape[1] + 1, device=z.device)[:, None] - cy) / fy  # (B, H, 1)
    dx, dy, dz = down[:, :, None, None].unbind(dim=1)
    up = -z * (x * dx + y * dy + dz)  # [HHA-1] z times the ray is the point
    lowest = torch.where(known, up, torch.inf).amin(dim=(1, 2))
    return up - torch.where(lowest > FLOOR_BELOW, FLOOR, lowest)[:, None, None]  # [HHA-4]


def _dot(vectors: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """``(B, C, H, W)`` with ``(B, C)``: ``(B, H, W)``."""
    return (direction[:, None] @ vectors.flatten(2)).view(len(vectors), *vectors.shape[2:])


def _checked(depth: torch.Tensor) -> torch.Tensor:
    """Depth in float64; an error where it is none."""
    check_shape("depth", depth, "BHW", "Add a batch axis with depth[None] if it is one image.")
    z = depth.to(torch.float64)
    if not bool((z.isfinite() & (z >= 0)).all()):
        raise RangeError("depth: expected metres, and 0 where it is missing; got NaN, infinite or negative values.")
    measured, far = (z > 0).sum(dim=(1, 2)), (z > FARTHEST).sum(dim=(1, 2))
    if not bool((measured > 0).all()):
        raise RangeError("depth: expected some depth in every image, got one that is zero everywhere.")
    if bool((2 * far > measured).any()):
        raise RangeError(
            f"depth: expected metres, got a median over {FARTHEST:g}. Divide by the file's scale, often 1000."
        )
    return z


def _cameras(intrinsics: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """A camera ``(B, 3, 3)`` in float64 for each depth image; an error where it can't have taken one."""
    count, height, width = depth.shape
    check_device("intrinsics", intrinsics, depth.device)
    if intrinsics.shape not in ((3, 3), (count, 3, 3)):
        raise ShapeError(f"intrinsics: expected (3, 3) or ({count}, 3, 3), got {tuple(intrinsics.shape)}.")
    camera = intrinsics.to(torch.float64).expand(count, 3, 3)
    form = camera * camera.new_tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0]]) + camera.new_tensor([0, 0, 1]).diag()
    numbers = torch.stack([camera[:, i, j] for i, j in PLACES], dim=1)  # (B, 4)
    fits = (numbers > 0) & (numbers < numbers.new_tensor([torch.inf, torch.inf, width, height]))
    good = fits.all(dim=1) & (camera == form).flatten(1).all(dim=1)
    if not bool(good.all()):
        raise RangeError(
            "intrinsics: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels, fx and fy positive, and (cx, cy) "
            f"within the picture of {width} x {height}; got {camera[~good][0].tolist()}. Scale it with the picture."
        )
    return camera


def _tensor(values: np.ndarray | torch.Tensor) -> torch.Tensor:
    """In float64; arrays of any type are copied, as PIL's can't be written to."""
    return values.double() if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))
