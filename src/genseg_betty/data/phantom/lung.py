"""Chest X-ray phantom (postero-anterior): bones and organs are added up as an X-ray adds them; mask = both lungs.

Coordinates are the patient's: x to the picture's right (the patient's left), y down, shoulders near -0.6,
diaphragm near 0.4.
"""

from dataclasses import dataclass

import numpy as np

from genseg_betty.data.phantom.canvas import Array, Canvas, Pose, Range, Stroke, Tree, grow, segment

HILUM = (0.17, -0.08)  # where the lung's vessels enter, from the midline
APEX = 0.26  # distance of a lung's tip from the midline
LUNG_VESSELS = Tree(length=0.05, bend=0.2, taper=0.92, fork=0.18, least=0.009)


@dataclass(frozen=True)
class Domain:
    """Ranges that one hospital's pictures are drawn from."""

    degrees: float
    scale: Range
    aspect: Range
    shift: float
    width: Range  # outer edge of a lung, from the midline
    top: Range
    base: Range  # height of the diaphragm
    heart: Range  # how far the heart bulges into the left lung
    lung: Range  # brightness of lung, of 1
    ribs: Range
    opacities: Range  # patches of consolidation
    opacity: Range
    gamma: Range
    bias: float
    grain: Range
    blur: Range
    devices: float  # chance of each of: electrodes, pacemaker, printed label
    collimation: float  # chance of black bands at the border


SOURCE = Domain(
    degrees=4, scale=(1.0, 1.13), aspect=(0.97, 1.07), shift=0.05, width=(0.64, 0.74), top=(-0.74, -0.66),
    base=(0.28, 0.46), heart=(0.1, 0.22), lung=(0.28, 0.4), ribs=(0.07, 0.12), opacities=(0, 1),
    opacity=(0.1, 0.25), gamma=(0.9, 1.1), bias=0.03, grain=(0.01, 0.02), blur=(0.3, 0.5), devices=0.0,
    collimation=0.1,
)  # fmt: skip
SHIFTED = Domain(
    degrees=10, scale=(0.88, 1.2), aspect=(0.88, 1.1), shift=0.1, width=(0.56, 0.78), top=(-0.8, -0.62),
    base=(0.2, 0.5), heart=(0.12, 0.3), lung=(0.2, 0.46), ribs=(0.08, 0.16), opacities=(0, 3),
    opacity=(0.15, 0.4), gamma=(0.7, 1.7), bias=0.07, grain=(0.015, 0.04), blur=(0.2, 0.8), devices=0.35,
    collimation=0.5,
)  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """One patient's measures. Pairs are the right and the left side (left and right in the picture)."""

    width: tuple[float, float]
    top: tuple[float, float]
    base: tuple[float, float]
    bulge: tuple[float, float]
    mediastinum: float
    roundness: float
    rib_spacing: float
    rib_phase: float

    @classmethod
    def random(cls, canvas: Canvas, domain: Domain) -> "Anatomy":
        def pair(limits: Range, spread: float) -> tuple[float, float]:
            middle = canvas.draw(limits)
            return middle + canvas.draw((-spread, spread)), middle + canvas.draw((-spread, spread))

        base = pair(domain.base, 0.03)
        return cls(
            width=pair(domain.width, 0.025),
            top=pair(domain.top, 0.02),
            base=(base[0] - 0.04, base[1]),  # the liver lifts the right side
            bulge=(canvas.draw((0.02, 0.08)), canvas.draw(domain.heart)),
            mediastinum=canvas.draw((0.1, 0.15)),
            roundness=canvas.draw((1.9, 2.6)),
            rib_spacing=canvas.draw((0.14, 0.17)),
            rib_phase=canvas.draw((0, 1)),
        )


def draw(canvas: Canvas, shifted: bool) -> tuple[Array, Array]:
    """Image [H, W] in [0, 1] and mask [H, W] bool."""
    domain = SHIFTED if shifted else SOURCE
    anatomy = Anatomy.random(canvas, domain)
    pose = Pose.random(canvas, domain.degrees, domain.scale, domain.aspect, domain.shift)
    x, y = pose.to_subject(*canvas.grid)
    x = x + 0.012 * canvas.noise(3)
    y = y + 0.012 * canvas.noise(3)
    inside = _lungs(anatomy, x, y)
    image = _tissue(canvas, x, y)
    image += _skeleton(canvas, anatomy, domain, pose, x, y, inside)
    image = _air(canvas, domain, pose, image, x, y, inside)
    image = _below_diaphragm(canvas, anatomy, image, x, y)
    image = _camera(canvas, domain, pose, image)
    return image, inside > 0


def _lungs(anatomy: Anatomy, x: Array, y: Array) -> Array:
    """Distance into the nearer lung, negative outside."""
    left = x > 0
    side = np.abs(x)
    top, base = (
        np.where(left, anatomy.top[1], anatomy.top[0]),
        np.where(left, anatomy.base[1], anatomy.base[0]),
    )
    width, bulge = np.where(left, anatomy.width[1], anatomy.width[0]), np.where(left, *anatomy.bulge[::-1])
    rest = 1 - np.clip((y - top) / (base + 0.15 - top), 0, 1)  # 1 at the tip, 0 at the base
    outer = APEX + (width - APEX) * np.power(1 - np.power(rest, anatomy.roundness), 0.52)
    inner = anatomy.mediastinum + (APEX - anatomy.mediastinum) * rest**9
    inner = inner + bulge * np.exp(-(((y - base + 0.1) / 0.27) ** 2))
    from_dome = side - 0.36
    dome = base + from_dome**2 * np.where(from_dome > 0, 2.0, 0.7)
    return np.minimum(np.minimum(outer - side, side - inner), np.minimum(dome - y, y - top)).astype(np.float32)


def _tissue(canvas: Canvas, x: Array, y: Array) -> Array:
    """Soft tissue: brighter where the body is thicker, dark beside it."""
    torso = canvas.draw((0.8, 0.95))
    heights = (-1.1, -0.9, -0.76, -0.6, -0.4, -0.1, 0.4, 1.1)
    widths = (0.2, 0.24, 0.55, 1.0, 1.1, torso + 0.04, torso, torso + 0.08)
    depth = np.interp(y, heights, widths).astype(np.float32) - np.abs(x)
    edge = np.sqrt(np.clip(depth / 0.5, 0, 1))
    image = np.where(depth > 0, 0.12 + 0.52 * edge, 0.02)
    image += 0.06 * np.clip(y, -0.5, 1) * (depth > 0) + 0.015 * canvas.noise(9)
    if canvas.chance(0.4):  # breasts
        low, size = canvas.draw((0.3, 0.5)), canvas.draw((0.24, 0.34))
        away = np.hypot((np.abs(x) - 0.45) / 1.2, y - low + size)
        image += 0.09 * canvas.step(size * 1.3 - away, 0.05) * canvas.step(y - low + size, 0.5)
    return image.astype(np.float32)


def _skeleton(canvas: Canvas, anatomy: Anatomy, domain: Domain, pose: Pose, x: Array, y: Array, inside: Array) -> Array:
    """Ribs, spine, heart and clavicles, to be added."""
    side = np.abs(x)
    cage = 0.35 * canvas.step(inside + 0.07, 0.04) + 0.65 * canvas.step(inside, 0.04)  # the heart outshines them
    behind = np.cos(2 * np.pi * ((y - 0.1 * side - 0.75 * side**3) / anatomy.rib_spacing + anatomy.rib_phase))
    front = np.cos(2 * np.pi * ((y + 0.65 * side) / (anatomy.rib_spacing * 1.15) + 2 * anatomy.rib_phase))
    image = canvas.draw(domain.ribs) * cage * (np.clip(behind * 1.6, 0, 1) + 0.45 * np.clip(front * 1.6, 0, 1))
    spine = canvas.step(0.085 - side, 0.05)
    image += spine * (0.06 + 0.02 * np.sin(y * 38)) * canvas.step(0.5 - y, 0.5)
    middle = np.exp(-(((x - 0.05) / 0.2) ** 2)) * canvas.step(y + 0.35, 0.6)
    image += 0.14 * middle
    image -= 0.1 * canvas.step(0.045 - side, 0.04) * canvas.step(-0.2 - y, 0.1)  # the windpipe
    return image + canvas.draw((0.1, 0.17)) * canvas.strokes(_clavicles(canvas), pose)


def _clavicles(canvas: Canvas) -> list[Stroke]:
    rise = canvas.draw((0.02, 0.16))
    along = np.linspace(0, 1, 12)
    strokes: list[Stroke] = []
    for sign in (-1, 1):
        points = np.stack([sign * (0.1 + 0.65 * along), -0.5 - rise * along + 0.05 * np.sin(2 * np.pi * along)], 1)
        strokes.append((points, 0.055))
    return strokes


def _air(canvas: Canvas, domain: Domain, pose: Pose, image: Array, x: Array, y: Array, inside: Array) -> Array:
    """Let the X-rays through the lungs, with their vessels and any consolidation."""
    vessels = canvas.strokes(_lung_vessels(canvas), pose)
    hilum = np.exp(-(((np.abs(x) - HILUM[0]) / 0.11) ** 2) - ((y - HILUM[1]) / 0.17) ** 2)
    dense = 0.13 * vessels + 0.2 * hilum + 0.03 * canvas.noise(24)
    for _ in range(canvas.count(domain.opacities)):
        centre_x, centre_y, radius = (canvas.draw(limits) for limits in ((-0.55, 0.55), (-0.45, 0.4), (0.08, 0.25)))
        away = ((x - centre_x) / radius) ** 2 + ((y - centre_y) / radius) ** 2
        dense += canvas.draw(domain.opacity) * np.exp(-away) * (1 + 0.3 * canvas.noise(12))
    through = canvas.draw(domain.lung) - 0.5
    lung = canvas.step(inside, 0.035)
    return image * (1 + lung * (through - 0.1 + 0.08 * y)) + lung * dense * 0.6


def _lung_vessels(canvas: Canvas) -> list[Stroke]:
    strokes: list[Stroke] = []
    for sign in (-1, 1):
        for _ in range(4):
            heading = canvas.draw((-1.2, 1.5))
            found = grow(canvas.rng, LUNG_VESSELS, np.array(HILUM), heading, canvas.draw((0.025, 0.04)))
            strokes += [(points * (sign, 1), width) for points, width in found]
    return strokes


def _below_diaphragm(canvas: Canvas, anatomy: Anatomy, image: Array, x: Array, y: Array) -> Array:
    """The stomach's gas bubble, dark like lung but not lung."""
    if not canvas.chance(0.6):
        return image
    centre = canvas.draw((0.22, 0.42)), anatomy.base[1] + canvas.draw((0.12, 0.2))
    width, height = canvas.draw((0.06, 0.15)), canvas.draw((0.03, 0.08))
    away = np.sqrt(((x - centre[0]) / width) ** 2 + ((y - centre[1]) / height) ** 2)
    return image - canvas.draw((0.1, 0.3)) * canvas.step(1 - away, 0.3)


def _camera(canvas: Canvas, domain: Domain, pose: Pose, image: Array) -> Array:
    """Exposure, bias field, blur and grain; then what lies on the film: marker, label, devices, black bands."""
    x, y = canvas.grid
    image = image + domain.bias * canvas.noise(2)
    image = np.power(np.clip(image * 1.12, 0, 1), canvas.draw(domain.gamma))
    image = canvas.blur(image, canvas.draw(domain.blur)) + canvas.draw(domain.grain) * canvas.grain(1)[..., 0]
    image = image + (0.97 - image) * canvas.strokes(_objects(canvas, domain, pose))
    if canvas.chance(domain.collimation):
        edges = [canvas.draw((0.86, 1.06)) for _ in range(3)]
        lit = canvas.step(np.minimum(edges[0] - y, np.minimum(edges[1] - x, edges[2] + x)))
        image = image * lit
    return image


def _objects(canvas: Canvas, domain: Domain, pose: Pose) -> list[Stroke]:
    """The side marker "L", and perhaps electrodes with leads, a pacemaker, a printed label."""
    corner = np.array([canvas.draw((0.62, 0.85)), canvas.draw((-0.92, -0.7))])
    strokes: list[Stroke] = [(corner + np.array([(0, 0), (0, 0.09), (0.05, 0.09)]), 0.02)]
    if canvas.chance(domain.devices):
        for _ in range(canvas.count((2, 4))):
            spot = np.array([canvas.draw((-0.6, 0.6)), canvas.draw((-0.4, 0.5))])
            lead = np.append(segment(spot, (0.12, 0.25)), [(canvas.draw((-0.5, 0.5)), 1.1)], axis=0)
            strokes += [(pose.to_picture(segment(spot, (0.05, 0))), 0.05), (pose.to_picture(lead), 0.012)]
    if canvas.chance(domain.devices):
        box = np.array([canvas.draw((0.38, 0.5)), canvas.draw((-0.4, -0.3))])
        wire = np.append(segment(box, (-0.1, -0.15)), [(0.06, -0.3), (0.02, 0.1), (0.15, 0.3)], axis=0)
        strokes += [(pose.to_picture(segment(box, (0.14, 0))), 0.13), (pose.to_picture(wire), 0.018)]
    if canvas.chance(domain.devices):
        label = np.array([canvas.draw((-0.9, 0.5)), -0.9])
        strokes += [(segment(label, (0.22, 0)), 0.09), (segment(label + np.array([0, 0.1]), (0.3, 0)), 0.05)]
    return strokes
