"""What a cheap camera makes of a frame: noise in the colours, and noise and holes in the depth."""

from __future__ import annotations

import numpy as np

from ask_lib.data.rooms.draws import Draws
from ask_lib.data.rooms.options import Array

NEAREST, FARTHEST = 0.4, 9.5  # metres: what a structured-light sensor can measure
QUANTUM = 0.0028  # the step of depth at one metre; it grows with the square
SIGMA = 0.0022  # standard deviation at one metre; it grows with the square as well


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

    Noise and steps grow with the square of the distance. Holes: at edges, where the projector's shadow falls; on
    slanted and on dark surfaces, where too little comes back; and out of range.

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
    noise = _smooth(draws.normals(height, width)) * SIGMA * strength * depth**2
    noisy = depth + noise
    step = np.maximum(QUANTUM * strength * depth**2, 1e-6)
    noisy = np.round(noisy / step) * step
    lost = draws.units(height, width) < _loss(depth, normal, albedo) * min(strength, 2.0)
    patches = _smooth(_smooth(draws.normals(height, width))) * 1.5
    lost |= (patches > 2.2 / max(strength, 0.3)) & (_loss(depth, normal, albedo) > 0.02)
    lost |= _shadowed(depth, max(round(width * 0.006 * strength), 1))
    lost |= (depth < NEAREST) | (depth > FARTHEST)
    return np.where(lost, 0.0, noisy).astype(np.float32)


def _loss(depth: Array, normal: Array, albedo: Array) -> Array:
    """Chance that too little light comes back."""
    height, width = depth.shape
    x = (np.arange(width) - width / 2 + 0.5) / width
    y = (np.arange(height) - height / 2 + 0.5) / width
    ray = np.stack([np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))])
    length = np.sqrt(ray[0] ** 2 + ray[1] ** 2 + 1)
    facing = np.abs(normal[0] * ray[0] + normal[1] * ray[1] + normal[2]) / length
    back = facing * (0.06 + albedo) / np.maximum(depth, 0.5) ** 2
    chance: Array = np.clip(0.004 / np.maximum(back, 1e-4) - 0.3, 0, 0.9) + 0.7 * (facing < 0.1)
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
