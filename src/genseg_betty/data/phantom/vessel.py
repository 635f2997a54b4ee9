"""Fetoscopy phantom: placental vessels that branch over tissue, seen through a round scope; mask = the vessels."""

from dataclasses import dataclass, replace

import numpy as np

from genseg_betty.data.phantom.canvas import Array, Canvas, Range, Stroke, Tree, grow, rgb, segment

VESSELS = Tree(length=0.1, bend=0.2, taper=0.965, fork=0.07, least=0.065, steps=40)
OPAQUE = 0.5  # coverage from which a pixel counts as vessel


@dataclass(frozen=True)
class Domain:
    """Ranges that one operation theatre's pictures are drawn from."""

    tissue: tuple[tuple[float, float, float], ...]  # RGB in [0, 1]
    contrast: Range  # how much of a vessel's colour shows
    veins: float  # chance that a tree is bluish and dark, not red
    trees: Range
    width: Range
    bend: Range
    radius: Range  # of the field of view
    shift: float  # of its centre
    texture: Range
    lighting: float
    glints: Range
    haze: Range  # whitish fluid
    particles: Range
    instrument: float  # chance of the laser fibre and its spot
    gamma: Range
    grain: Range
    blur: Range


SOURCE = Domain(
    tissue=((0.85, 0.5, 0.36), (0.8, 0.42, 0.33), (0.9, 0.58, 0.42)), contrast=(0.75, 0.95), veins=0.4,
    trees=(2, 3), width=(0.15, 0.22), bend=(0.12, 0.25), radius=(0.95, 1.15), shift=0.05, texture=(0.01, 0.025),
    lighting=0.04, glints=(0, 2), haze=(0, 0.1), particles=(0, 0), instrument=0.0, gamma=(0.9, 1.1),
    grain=(0.008, 0.015), blur=(0.3, 0.6),
)  # fmt: skip
SHIFTED = Domain(
    tissue=((0.86, 0.62, 0.4), (0.7, 0.36, 0.32), (0.8, 0.6, 0.48), (0.74, 0.56, 0.36)), contrast=(0.6, 0.9),
    veins=0.55, trees=(2, 4), width=(0.12, 0.25), bend=(0.15, 0.32), radius=(0.82, 1.2), shift=0.12,
    texture=(0.015, 0.035), lighting=0.08, glints=(0, 5), haze=(0.03, 0.2), particles=(0, 8), instrument=0.25,
    gamma=(0.8, 1.3), grain=(0.01, 0.025), blur=(0.3, 0.9),
)  # fmt: skip


def draw(canvas: Canvas, shifted: bool) -> tuple[Array, Array]:
    """Image [H, W, 3] in [0, 1] and mask [H, W] bool."""
    domain = SHIFTED if shifted else SOURCE
    x, y = canvas.grid
    centre = canvas.rng.uniform(-domain.shift, domain.shift, 2)
    distance = np.hypot(x - centre[0], y - centre[1]).astype(np.float32)
    view = canvas.draw(domain.radius) - distance
    image = _tissue(canvas, domain)
    covered = np.zeros_like(x)
    for _ in range(canvas.count(domain.trees)):
        image, coverage = _add_tree(canvas, domain, image)
        covered = np.maximum(covered, coverage)
    image = _camera(canvas, domain, _in_front(canvas, domain, image), distance)
    return image * canvas.step(view, 0.06)[..., None], (covered >= OPAQUE) & (view > 0)


def _tissue(canvas: Canvas, domain: Domain) -> Array:
    """The placenta's surface [H, W, 3]: lobes, speckle and hair-thin vessels that nobody labels."""
    tone = np.array(domain.tissue[canvas.count((0, len(domain.tissue) - 1))]) + canvas.rng.normal(0, 0.025, 3)
    relief = canvas.draw(domain.texture) * (canvas.noise(5) + canvas.noise(14) + 0.6 * canvas.noise(32))
    thin = replace(VESSELS, least=0.012, taper=0.93, bend=0.4, fork=0.04)
    strokes: list[Stroke] = []
    for start in canvas.rng.uniform(-1, 1, (3, 2)):
        strokes += grow(canvas.rng, thin, start, canvas.draw((0, 2 * np.pi)), 0.022)
    image = tone + relief[..., None] * (1, 0.9, 0.8) - 0.12 * canvas.strokes(strokes)[..., None] * (0.6, 1, 0.8)
    return image.astype(np.float32)


def _add_tree(canvas: Canvas, domain: Domain, image: Array) -> tuple[Array, Array]:
    """Lay one vein or artery over the image; also its coverage [H, W]."""
    turn = canvas.draw((0, 2 * np.pi))
    start = 1.25 * np.array([np.cos(turn), np.sin(turn)])
    towards = canvas.rng.uniform(-0.45, 0.45, 2) - start
    tree = replace(VESSELS, bend=canvas.draw(domain.bend))
    strokes = grow(canvas.rng, tree, start, np.arctan2(towards[1], towards[0]), canvas.draw(domain.width))
    coverage = canvas.strokes(strokes)
    vein = canvas.chance(domain.veins)
    colour = np.array((0.4, 0.14, 0.22) if vein else (0.62, 0.1, 0.08)) + canvas.rng.normal(0, 0.03, 3)
    axis = np.clip(canvas.blur(coverage, 2) - 0.6, 0, 1)  # light on the round wall
    strength = (canvas.draw(domain.contrast) * coverage * (1 + 0.08 * canvas.noise(8)))[..., None]
    image = image * (1 - strength) + colour.astype(np.float32) * strength
    return image + 0.3 * axis[..., None], coverage


def _in_front(canvas: Canvas, domain: Domain, image: Array) -> Array:
    """Fluid, floating particles, glints and the laser fibre between scope and tissue."""
    haze = canvas.draw(domain.haze) * np.clip(0.6 + 0.4 * canvas.noise(3), 0, 1)[..., None]
    image = image * (1 - haze) + rgb(0.86, 0.8, 0.7) * haze
    specks = _spots(canvas, domain.particles, (0.03, 0))
    image = image + 0.35 * canvas.blur(canvas.strokes(specks), 0.8)[..., None]
    glints = _spots(canvas, domain.glints, (0.06, 0.03))
    image = image + 0.6 * canvas.blur(canvas.strokes(glints), 0.5)[..., None]
    if canvas.chance(domain.instrument):
        tip = canvas.rng.uniform(-0.3, 0.3, 2)
        fibre = canvas.strokes([(np.array([tip, (canvas.draw((-1, 1)), 1.3)]), 0.12)])[..., None]
        image = image * (1 - fibre) + rgb(0.75, 0.78, 0.8) * fibre
        x, y = canvas.grid
        spot = np.exp(-((x - tip[0]) ** 2 + (y - tip[1] + 0.15) ** 2) / 0.012)[..., None]
        image = image + 0.8 * spot * rgb(0.4, 1, 0.5)
    return image


def _spots(canvas: Canvas, number: Range, length: tuple[float, float]) -> list[Stroke]:
    """That many short, thick strokes at random places."""
    places = canvas.rng.uniform(-0.8, 0.8, (canvas.count(number), 2))
    return [(segment(place, length), canvas.draw((0.03, 0.08))) for place in places]


def _camera(canvas: Canvas, domain: Domain, image: Array, distance: Array) -> Array:
    """The scope's light, which falls off from the centre of view; white balance, exposure, blur and grain."""
    light = 1.08 - 0.3 * distance**2 + domain.lighting * canvas.noise(2)
    balance = 1 + canvas.rng.normal(0, 0.02 + 0.3 * domain.lighting, 3)
    image = np.clip(image * light[..., None] * balance, 0, 1) ** canvas.draw(domain.gamma)
    image = canvas.blur(image.astype(np.float32), canvas.draw(domain.blur))
    return image + canvas.draw(domain.grain) * canvas.grain(3)
