"""Fetoscopy phantom: placental vessels that branch over tissue, seen through a round scope; mask = the vessels."""

from dataclasses import replace

import numpy as np

from genseg_betty.data.phantom.camera import add_blur_and_grain, expose_colours
from genseg_betty.data.phantom.canvas import Array, Canvas, Range, Stroke, clip_to_unit, make_segment
from genseg_betty.data.phantom.colours import make_colour, paint_over, tint_plane
from genseg_betty.data.phantom.pose import point_towards
from genseg_betty.data.phantom.vessel_domains import SHIFTED, SOURCE, VesselDomain
from genseg_betty.data.phantom.vessel_tree import Tip, VesselTree

VESSELS = VesselTree(length=0.1, bend=0.2, taper=0.965, fork=0.07, least=0.065, steps=40)
CAPILLARIES = replace(VESSELS, least=0.012, taper=0.93, bend=0.4, fork=0.04)
# Colours: of what is laid over the image; relief adds to the image, a capillary takes away.
VEIN = (0.4, 0.14, 0.22)
ARTERY = (0.62, 0.1, 0.08)
RELIEF = (1, 0.9, 0.8)
CAPILLARY = (0.6, 1, 0.8)
HAZE = make_colour(0.86, 0.8, 0.7)
FIBRE = make_colour(0.75, 0.78, 0.8)
LASER = make_colour(0.4, 1, 0.5)
OPAQUE = 0.5  # coverage from which a pixel counts as vessel


def draw_vessels(canvas: Canvas, shifted: bool) -> tuple[Array, Array]:
    """Image [H, W, 3] in [0, 1] and mask [H, W] bool."""
    domain = SHIFTED if shifted else SOURCE
    x, y = canvas.grid
    shift = domain.shift
    centre_x, centre_y = canvas.rng.uniform(-shift, shift, 2)
    from_centre = np.hypot(x - centre_x, y - centre_y)
    from_centre = from_centre.astype(np.float32)
    radius = canvas.draw_number(domain.radius)
    view = radius - from_centre

    # From the tissue up to the scope: each layer covers those before it.
    image = _draw_tissue(canvas, domain)
    covered = np.zeros_like(x)
    for _ in range(canvas.draw_count(domain.trees)):
        image, coverage = _add_tree(canvas, domain, image)
        covered = np.maximum(covered, coverage)
    image = _add_fluid(canvas, domain, image)
    if canvas.flip_coin(domain.instrument):
        image = _add_laser(canvas, image)
    image = _take_picture(canvas, domain, image, from_centre)

    scope = canvas.soft_step(view, 0.06)
    image = image * scope[..., None]
    is_vessel = covered >= OPAQUE
    return image, is_vessel & (view > 0)


def _draw_tissue(canvas: Canvas, domain: VesselDomain) -> Array:
    """The placenta's surface [H, W, 3]: lobes, speckle and hair-thin vessels that nobody labels."""
    tone = canvas.draw_tone(domain.tissue)
    strength = canvas.draw_number(domain.texture)
    lobes = canvas.draw_noise(5) + canvas.draw_noise(14)
    speckle = 0.6 * canvas.draw_noise(32)
    relief = strength * (lobes + speckle)
    image = tone + tint_plane(relief, RELIEF)

    # The capillaries are thinner than whatever counts as a vessel.
    strokes: list[Stroke] = []
    for start in canvas.rng.uniform(-1, 1, (3, 2)):
        root = Tip(start, canvas.draw_angle(), 0.022)
        strokes += CAPILLARIES.grow_strokes(canvas.rng, root)
    blood = 0.12 * canvas.draw_strokes(strokes)
    image = image - tint_plane(blood, CAPILLARY)
    return image.astype(np.float32)


def _add_tree(canvas: Canvas, domain: VesselDomain, image: Array) -> tuple[Array, Array]:
    """Lay one vein or artery over the image; also its coverage [H, W]."""
    tree, root = _plant_tree(canvas, domain)
    strokes = tree.grow_strokes(canvas.rng, root)
    coverage = canvas.draw_strokes(strokes)

    # The wall is round: light comes back from the middle of the vessel.
    is_vein = canvas.flip_coin(domain.veins)
    colour = np.array(VEIN if is_vein else ARTERY)
    colour = colour + canvas.rng.normal(0, 0.03, 3)
    colour = colour.astype(np.float32)
    middle = canvas.blur_image(coverage, 2) - 0.6
    reflection = 0.3 * clip_to_unit(middle)
    contrast = canvas.draw_number(domain.contrast) * coverage
    unevenness = 1 + 0.08 * canvas.draw_noise(8)
    image = paint_over(image, colour, contrast * unevenness)
    return image + reflection[..., None], coverage


def _plant_tree(canvas: Canvas, domain: VesselDomain) -> tuple[VesselTree, Tip]:
    """A vessel that begins outside the picture and heads for a place near its middle."""
    start = 1.25 * point_towards(canvas.draw_angle())
    aim = canvas.rng.uniform(-0.45, 0.45, 2)
    right, down = aim - start
    heading = np.arctan2(down, right)
    bend = canvas.draw_number(domain.bend)
    tree = replace(VESSELS, bend=bend)
    width = canvas.draw_number(domain.width)
    return tree, Tip(start, heading, width)


def _add_fluid(canvas: Canvas, domain: VesselDomain, image: Array) -> Array:
    """Haze, floating particles and glints between scope and tissue."""
    density = canvas.draw_number(domain.haze)
    swirls = 0.6 + 0.4 * canvas.draw_noise(3)
    haze = density * clip_to_unit(swirls)
    image = paint_over(image, HAZE, haze)
    specks = _draw_spots(canvas, domain.particles, (0.03, 0))
    specks = 0.35 * canvas.blur_image(specks, 0.8)
    image = image + specks[..., None]
    glints = _draw_spots(canvas, domain.glints, (0.06, 0.03))
    glints = 0.6 * canvas.blur_image(glints, 0.5)
    return image + glints[..., None]


def _draw_spots(canvas: Canvas, number: Range, length: tuple[float, float]) -> Array:
    """Coverage [H, W] of that many short, thick strokes at random places."""
    count = canvas.draw_count(number)
    strokes = []
    for place in canvas.rng.uniform(-0.8, 0.8, (count, 2)):
        points = make_segment(place, length)
        width = canvas.draw_number((0.03, 0.08))
        strokes.append(Stroke(points, width))
    return canvas.draw_strokes(strokes)


def _add_laser(canvas: Canvas, image: Array) -> Array:
    """The laser's fibre, and its green spot just above the tip."""
    tip = canvas.rng.uniform(-0.3, 0.3, 2)
    tip_x, tip_y = tip
    entry = (canvas.draw_offset(1), 1.3)
    points = np.array([tip, entry])
    coverage = canvas.draw_strokes([Stroke(points, 0.12)])
    image = paint_over(image, FIBRE, coverage)

    x, y = canvas.grid
    across = x - tip_x
    down = y - tip_y + 0.15
    squares = across**2 + down**2
    spot = 0.8 * np.exp(-squares / 0.012)
    return image + tint_plane(spot, LASER)


def _take_picture(canvas: Canvas, domain: VesselDomain, image: Array, from_centre: Array) -> Array:
    """The scope's light, which falls off from the centre of view; white balance, exposure, blur and grain."""
    falloff = 1.08 - 0.3 * from_centre**2
    unevenness = domain.lighting * canvas.draw_noise(2)
    light = falloff + unevenness
    imbalance = 0.02 + 0.3 * domain.lighting
    image = expose_colours(canvas, image, light, imbalance, domain.gamma)
    return add_blur_and_grain(canvas, image, domain.blur, domain.grain)
