"""What a cheap camera makes of a frame: noise in the colours, and noise and holes in the depth."""

from __future__ import annotations

import numpy as np

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.options import Array

NEAREST, FARTHEST = 0.6, 4.3  # metres: what a structured-light sensor can measure well
QUANTUM = 0.0035  # the step of depth at one metre; it grows with the square
SIGMA = 0.004  # standard deviation at one metre; it grows with the square as well
WARP = 0.005  # of slow errors over the picture, at one metre, coarse and finer; it grows with the square too
WINDOW = 0.011  # reach of the matching window that blurs outlines, as a share of the picture's width
RETURN = 0.004  # light that must come back for a reading to be sure


def sense_colour(rgb: Array, gain: float, draws: Draws) -> Array:
    """Shot and read noise, stronger in dim rooms, then eight bits.

    Args:
        rgb: ``(H, W, 3)`` float in [0, 1].
        gain: The scene's exposure; what lies below one was amplified by the camera.
        draws: The frame's own stream.

    Returns:
        ``(3, H, W)`` uint8.
    """
    sigma = 0.008 + 0.014 * max(1.0 - gain, 0.0)
    noisy = rgb + sigma * draws.normals(*rgb.shape)
    bytes_: Array = np.clip(np.round(noisy * 255), 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return np.ascontiguousarray(bytes_)


def sense_depth(depth: Array, normal: Array, albedo: Array, strength: float, draws: Draws) -> Array:
    """Depth as a structured-light sensor gives it.

    Noise, steps and a slow warp grow with the square of the distance. The sensor matches windows, not pixels, so
    outlines wander and thin things break. Holes come in patches: at edges, where the projector's shadow falls; on
    slanted, dark and far surfaces, where too little comes back; and out of range.

    Args:
        depth: ``(H, W)`` exact, metres.
        normal: ``(3, H, W)`` camera axes.
        albedo: ``(H, W)`` reflectance in [0, 1].
        strength: 0 for the exact depth, 1 for an ordinary sensor.
        draws: The frame's own stream.

    Returns:
        ``(H, W)`` float32, metres, 0 = missing.
    """
    if strength == 0:
        return depth.astype(np.float32)
    height, width = depth.shape
    matched = depth[_wandering(height, width, WINDOW * width * strength, draws)]
    noise = _smooth(draws.normals(height, width)) * SIGMA
    for knots in ((4, 5), (9, 12), (18, 24)):
        noise = noise + _slow(height, width, knots, draws) * WARP
    noisy = matched + noise * strength * matched**2
    step = np.maximum(QUANTUM * strength * matched**2, 1e-6)
    noisy = np.round(noisy / step) * step
    patches = _smooth(_smooth(draws.normals(height, width))) / 1.56
    lost = 1 / (1 + np.exp(-1.7 * patches)) < _loss(depth, normal, albedo) * min(strength, 2.0)
    lost |= _shadowed(depth, max(round(width * 0.006 * strength), 1))
    lost |= (depth < NEAREST) | (depth > FARTHEST)
    return np.where(lost, 0.0, noisy).astype(np.float32)


def _wandering(height: int, width: int, reach: float, draws: Draws) -> tuple[Array, Array]:
    """Row and column from which each pixel takes its depth."""
    shift = [np.round(_smooth(draws.normals(height, width)) * reach).astype(np.int64) for _ in range(2)]
    y = np.clip(np.arange(height)[:, None] + shift[0], 0, height - 1)
    x = np.clip(np.arange(width)[None] + shift[1], 0, width - 1)
    return y, x


def _slow(height: int, width: int, knots: tuple[int, int], draws: Draws) -> Array:
    """A smooth field of about unit variance, from a grid of knots."""
    y, x = (_weights(count, size) for count, size in zip(knots, (height, width), strict=True))
    field: Array = 1.5 * (y @ draws.normals(*knots) @ x.T)
    return field


def _weights(knots: int, size: int) -> Array:
    """Linear weights of evenly spaced knots, ``(size, knots)``."""
    at = np.arange(size)[:, None] * ((knots - 1) / (size - 1)) - np.arange(knots)[None]
    weights: Array = np.clip(1 - np.abs(at), 0, 1)
    return weights


def _loss(depth: Array, normal: Array, albedo: Array) -> Array:
    """Chance that too little light comes back."""
    height, width = depth.shape
    x = (np.arange(width) - width / 2 + 0.5) / width
    y = (np.arange(height) - height / 2 + 0.5) / width
    ray = np.stack([np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))])
    length = np.sqrt(ray[0] ** 2 + ray[1] ** 2 + 1)
    facing = np.abs(normal[0] * ray[0] + normal[1] * ray[1] + normal[2]) / length
    back = facing * (0.06 + albedo) / np.maximum(depth, 0.5) ** 2
    chance: Array = np.clip(RETURN / np.maximum(back, 1e-4) - 0.3, 0, 0.9) + 0.7 * (facing < 0.1)
    return chance


def _shadowed(depth: Array, reach: int) -> Array:
    """Pixels just left of something clearly nearer, where the projector to the right cannot reach."""
    lost = np.zeros(depth.shape, bool)
    for shift in range(1, reach + 1):
        nearer = depth[:, shift:] < depth[:, :-shift] * 0.93
        lost[:, :-shift] |= nearer
    return lost


def _smooth(values: Array) -> Array:
    """Average over a plus of five, scaled back to the same variance for white noise."""
    padded = np.pad(values, 1, mode="edge")
    total = padded[1:-1, 1:-1] + padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    smoothed: Array = total / np.sqrt(5.0)
    return smoothed
