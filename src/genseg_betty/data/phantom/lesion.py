"""Dermoscopy phantom: skin, one pigmented lesion, hairs, the dark rim of the lens; mask = the lesion."""

from dataclasses import dataclass

import numpy as np

from genseg_betty.data.phantom.canvas import Array, Canvas, Pose, Range, Stroke, rgb, segment

FAIR = ((0.93, 0.76, 0.7), (0.87, 0.66, 0.56), (0.9, 0.8, 0.8))  # skin, RGB in [0, 1]
MIXED = ((0.82, 0.6, 0.48), (0.68, 0.48, 0.38), (0.9, 0.66, 0.6), (0.8, 0.74, 0.66))
BROWN = ((0.36, 0.18, 0.11), (0.48, 0.25, 0.13), (0.22, 0.14, 0.13))  # pigment
VARIED = ((0.42, 0.2, 0.14), (0.66, 0.3, 0.26), (0.25, 0.2, 0.24), (0.55, 0.38, 0.26))


@dataclass(frozen=True)
class Domain:
    """Ranges that one clinic's pictures are drawn from."""

    skin: tuple[tuple[float, float, float], ...]
    pigment: tuple[tuple[float, float, float], ...]
    depth: Range  # how much of the pigment's colour the lesion takes
    scale: Range
    aspect: Range
    shift: float
    lobes: float  # deviation of the outline's waves
    softness: Range  # width of the lesion's edge
    mottle: Range
    halo: Range  # redness around the lesion
    texture: Range  # of the skin
    lighting: float
    hairs: Range
    rim: float  # chance of the lens's dark rim
    markings: float  # chance of each of: a ruler, ink dots around the lesion, gloss
    gamma: Range
    grain: Range
    blur: Range


SOURCE = Domain(
    skin=FAIR, pigment=BROWN, depth=(0.7, 0.95), scale=(0.4, 0.62), aspect=(0.8, 1.3), shift=0.15, lobes=0.09,
    softness=(0.05, 0.14), mottle=(0.08, 0.18), halo=(0, 0.04), texture=(0.01, 0.02), lighting=0.03, hairs=(0, 4),
    rim=0.35, markings=0.0, gamma=(0.9, 1.1), grain=(0.008, 0.015), blur=(0.2, 0.5),
)  # fmt: skip
SHIFTED = Domain(
    skin=MIXED, pigment=VARIED, depth=(0.65, 0.9), scale=(0.32, 0.62), aspect=(0.7, 1.45), shift=0.22, lobes=0.12,
    softness=(0.06, 0.18), mottle=(0.1, 0.22), halo=(0.01, 0.05), texture=(0.012, 0.025), lighting=0.05,
    hairs=(0, 6), rim=0.15, markings=0.2, gamma=(0.85, 1.25), grain=(0.01, 0.025), blur=(0.2, 0.8),
)  # fmt: skip


def draw(canvas: Canvas, shifted: bool) -> tuple[Array, Array]:
    """Image [H, W, 3] in [0, 1] and mask [H, W] bool."""
    domain = SHIFTED if shifted else SOURCE
    pose = Pose.random(canvas, 180, domain.scale, domain.aspect, domain.shift)
    x, y = pose.to_subject(*canvas.grid)
    inside = _outline(canvas, domain, x, y)
    image = _skin(canvas, domain)
    image = _pigment(canvas, domain, image, inside)
    image = _objects(canvas, domain, pose, image)
    return _camera(canvas, domain, image), inside > 0


def _outline(canvas: Canvas, domain: Domain, x: Array, y: Array) -> Array:
    """Distance into the lesion in units of its radius, negative outside: a circle with waves and a rough edge."""
    angle = np.arctan2(y, x)
    radius = np.ones_like(angle)
    for wave in range(2, 7):
        size, phase = canvas.rng.standard_normal() * domain.lobes / np.sqrt(wave - 1), canvas.draw((0, 2 * np.pi))
        radius += np.float32(size) * np.cos(wave * angle + np.float32(phase))
    return np.clip(radius, 0.45, 1.5) - np.hypot(x, y) + 0.025 * canvas.noise(20)


def _skin(canvas: Canvas, domain: Domain) -> Array:
    """Skin [H, W, 3] with blotches, pores and fine furrows."""
    tone = np.array(domain.skin[canvas.count((0, len(domain.skin) - 1))]) + canvas.rng.normal(0, 0.025, 3)
    relief = canvas.draw(domain.texture) * (canvas.noise(32) + 0.7 * canvas.noise(7))
    redness = canvas.draw(domain.texture) * canvas.noise(5)
    lines = []
    for _ in range(canvas.count((4, 12))):
        start, turn = canvas.rng.uniform(-1.1, 1.1, 2), canvas.draw((-np.pi, np.pi))
        lines.append((segment(start, (0.9 * np.cos(turn), 0.9 * np.sin(turn))), 0.012))
    relief = relief + 1.5 * canvas.draw(domain.texture) * canvas.strokes(lines)
    return (tone + relief[..., None] + redness[..., None] * (0.4, -0.8, -0.5)).astype(np.float32)


def _pigment(canvas: Canvas, domain: Domain, image: Array, inside: Array) -> Array:
    """Lay the lesion on the skin: two tones, mottled, with dots and perhaps a pale patch."""
    colours = canvas.rng.permutation(np.array(domain.pigment))[:2] + canvas.rng.normal(0, 0.015, (2, 3))
    blend = np.clip(0.5 + 0.6 * canvas.noise(3), 0, 1)[..., None]
    mottle = canvas.draw(domain.mottle) * (0.8 * canvas.noise(6) + 0.3 * canvas.noise(20))
    colour = (colours[0] * blend + colours[1] * (1 - blend)) * (1 + 0.8 * mottle[..., None])
    softness = canvas.draw(domain.softness)
    cover = canvas.step(inside, 2.5 * softness) * (canvas.draw(domain.depth) - 0.5 * mottle)
    if canvas.chance(0.3):  # regression: pigment lost in a patch
        cover = cover * (1 - 0.5 * np.clip(canvas.noise(3) - 0.5, 0, 1))
    halo = canvas.draw(domain.halo) * np.exp(-np.square(np.minimum(inside, 0) / 0.3))
    image = image + halo[..., None] * rgb(0.3, -1, -0.8)
    cover = np.clip(cover, 0, 1)[..., None]
    return image * (1 - cover) + colour.astype(np.float32) * cover


def _objects(canvas: Canvas, domain: Domain, pose: Pose, image: Array) -> Array:
    """Hairs; in the shifted domain also ink dots, a ruler and gloss."""
    hair = canvas.strokes([_hair(canvas) for _ in range(canvas.count(domain.hairs))])[..., None]
    image = image * (1 - 0.8 * hair) + rgb(0.1, 0.07, 0.06) * 0.8 * hair
    if canvas.chance(domain.markings):
        turns = canvas.rng.uniform(0, 2 * np.pi, 4)
        spots = pose.to_picture(1.5 * np.stack([np.cos(turns), np.sin(turns)], axis=1))
        ink = canvas.strokes([(segment(spot, (0.05, 0.05)), 0.07) for spot in spots])[..., None]
        image = image * (1 - 0.75 * ink) + rgb(0.2, 0.15, 0.5) * 0.75 * ink
    if canvas.chance(domain.markings):
        image = _ruler(canvas, image)
    if canvas.chance(domain.markings):
        image = image + 0.35 * np.clip(canvas.noise(14) - 1.6, 0, 1)[..., None]
    return image


def _hair(canvas: Canvas) -> Stroke:
    along = np.linspace(-1, 1, 14)
    angle, length, bend = canvas.draw((0, 2 * np.pi)), canvas.draw((0.3, 1.0)), canvas.draw((-0.4, 0.4))
    curve = np.stack([length * along, bend * along**2], axis=1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return curve @ turn + canvas.rng.uniform(-0.8, 0.8, 2), canvas.draw((0.01, 0.025))


def _ruler(canvas: Canvas, image: Array) -> Array:
    """A white scale along the lower edge."""
    top = canvas.draw((0.74, 0.86))
    card = canvas.step(canvas.grid[1] - top)[..., None]
    ticks = [(segment(np.array([x, top]), (0, 0.1)), 0.02) for x in np.arange(-0.95, 1, 0.13)]
    image = image * (1 - card) + 0.9 * card
    return image * (1 - 0.8 * canvas.strokes(ticks)[..., None])


def _camera(canvas: Canvas, domain: Domain, image: Array) -> Array:
    """Light that falls off, white balance, exposure, the lens's rim, blur and grain."""
    x, y = canvas.grid
    slope = canvas.rng.normal(0, domain.lighting, 2)
    light = 1 + slope[0] * x + slope[1] * y - 0.06 * (x**2 + y**2) + domain.lighting * 0.4 * canvas.noise(2)
    balance = 1 + canvas.rng.normal(0, 0.02 + 0.4 * domain.lighting, 3)
    image = np.clip(image * light[..., None] * balance, 0, 1) ** canvas.draw(domain.gamma)
    if canvas.chance(domain.rim):
        image = image * canvas.step(canvas.draw((1.12, 1.3)) - np.hypot(x, y), 0.15)[..., None]
    image = canvas.blur(image.astype(np.float32), canvas.draw(domain.blur))
    return image + canvas.draw(domain.grain) * canvas.grain(3)
