"""Dermoscopy phantom: skin, one pigmented lesion, hairs, the dark rim of the lens; mask = the lesion."""

import numpy as np

from genseg_betty.data.phantom.camera import add_blur_and_grain, expose_colours
from genseg_betty.data.phantom.canvas import FULL_TURN, Array, Canvas, Stroke, bell_curve, clip_to_unit, make_segment
from genseg_betty.data.phantom.colours import make_colour, paint_over, tint_plane
from genseg_betty.data.phantom.lesion_domains import SHIFTED, SOURCE, LesionDomain
from genseg_betty.data.phantom.pose import Pose, point_towards

BLOOD = (0.4, -0.8, -0.5)  # what it adds to red, green and blue
HALO = make_colour(0.3, -1, -0.8)  # the same around the lesion
HAIR = make_colour(0.1, 0.07, 0.06)
INK = make_colour(0.2, 0.15, 0.5)


def draw_lesion(canvas: Canvas, shifted: bool) -> tuple[Array, Array]:
    """Image [H, W, 3] in [0, 1] and mask [H, W] bool."""
    domain = SHIFTED if shifted else SOURCE
    pose = canvas.draw_pose(180, domain.scale, domain.aspect, domain.shift)
    x, y = pose.to_subject(*canvas.grid)
    inside = _draw_outline(canvas, domain, x, y)
    image = _draw_skin(canvas, domain)
    image = _add_pigment(canvas, domain, image, inside)
    image = _add_hairs(canvas, domain, image)
    image = _add_markings(canvas, domain, pose, image)
    return _take_picture(canvas, domain, image), inside > 0


def _draw_outline(canvas: Canvas, domain: LesionDomain, x: Array, y: Array) -> Array:
    """Distance into the lesion in units of its radius, negative outside: a circle with waves and a rough edge."""
    angle = np.arctan2(y, x)
    radius = np.ones_like(angle)
    for wave in range(2, 7):
        deviation = canvas.rng.standard_normal() * domain.lobes
        size = np.float32(deviation / np.sqrt(wave - 1))
        phase = np.float32(canvas.draw_angle())
        turned = wave * angle + phase
        radius += size * np.cos(turned)
    radius = np.clip(radius, 0.45, 1.5)
    roughness = 0.025 * canvas.draw_noise(20)
    return radius - np.hypot(x, y) + roughness


def _draw_skin(canvas: Canvas, domain: LesionDomain) -> Array:
    """Skin [H, W, 3] with blotches, pores and fine furrows."""
    tone = canvas.draw_tone(domain.skin)
    strength = canvas.draw_number(domain.texture)
    pores = canvas.draw_noise(32)
    blotches = canvas.draw_noise(7)
    relief = strength * (pores + 0.7 * blotches)

    # Blood shows as redness in patches; furrows are lighter lines.
    strength = canvas.draw_number(domain.texture)
    redness = strength * canvas.draw_noise(5)
    count = canvas.draw_count((4, 12))
    furrows = [_draw_furrow(canvas) for _ in range(count)]
    strength = 1.5 * canvas.draw_number(domain.texture)
    lines = canvas.draw_strokes(furrows)
    relief = relief + strength * lines
    image = tone + relief[..., None]
    image = image + tint_plane(redness, BLOOD)
    return image.astype(np.float32)


def _draw_furrow(canvas: Canvas) -> Stroke:
    start = canvas.rng.uniform(-1.1, 1.1, 2)
    angle = canvas.draw_offset(np.pi)
    along = 0.9 * point_towards(angle)
    points = make_segment(start, along)
    return Stroke(points, 0.012)


def _add_pigment(canvas: Canvas, domain: LesionDomain, image: Array, inside: Array) -> Array:
    """Lay the lesion on the skin: two tones, mottled, with dots and perhaps a pale patch."""
    two_tones = _mix_two_tones(canvas, domain)
    mottle = _draw_mottle(canvas, domain)
    darkening = 1 + 0.8 * mottle[..., None]
    colour = two_tones * darkening
    colour = colour.astype(np.float32)

    # The skin shows through at the edge, and where pigment is thin.
    softness = canvas.draw_number(domain.softness)
    edge = canvas.soft_step(inside, 2.5 * softness)
    depth = canvas.draw_number(domain.depth)
    uneven_depth = depth - 0.5 * mottle
    cover = edge * uneven_depth
    if canvas.flip_coin(0.3):
        cover = cover * _draw_regression(canvas)

    image = _add_halo(canvas, domain, image, inside)
    cover = clip_to_unit(cover)
    return paint_over(image, colour, cover)


def _draw_regression(canvas: Canvas) -> Array:
    """The share of the pigment [H, W] that is left where it is lost in a patch."""
    patch = canvas.draw_noise(3) - 0.5
    return 1 - 0.5 * clip_to_unit(patch)


def _mix_two_tones(canvas: Canvas, domain: LesionDomain) -> Array:
    """Two of the domain's pigments [H, W, 3] that run into each other."""
    pigments = np.array(domain.pigment)
    pigments = canvas.rng.permutation(pigments)
    deviations = canvas.rng.normal(0, 0.015, (2, 3))
    first, second = pigments[:2] + deviations
    blend = 0.5 + 0.6 * canvas.draw_noise(3)
    blend = clip_to_unit(blend)[..., None]
    return first * blend + second * (1 - blend)


def _draw_mottle(canvas: Canvas, domain: LesionDomain) -> Array:
    """Darker and lighter spots of the pigment [H, W], and small dots."""
    strength = canvas.draw_number(domain.mottle)
    spots = canvas.draw_noise(6)
    dots = canvas.draw_noise(20)
    return strength * (0.8 * spots + 0.3 * dots)


def _add_halo(canvas: Canvas, domain: LesionDomain, image: Array, inside: Array) -> Array:
    """Redden the skin around the lesion."""
    outside = np.minimum(inside, 0) / 0.3
    strength = canvas.draw_number(domain.halo)
    halo = strength * bell_curve(outside)
    return image + tint_plane(halo, HALO)


def _add_hairs(canvas: Canvas, domain: LesionDomain, image: Array) -> Array:
    count = canvas.draw_count(domain.hairs)
    hairs = [_draw_hair(canvas) for _ in range(count)]
    coverage = canvas.draw_strokes(hairs)
    return paint_over(image, HAIR, coverage, opacity=0.8)


def _draw_hair(canvas: Canvas) -> Stroke:
    """A parabola, turned and moved."""
    along = np.linspace(-1, 1, 14)
    angle = canvas.draw_angle()
    length = canvas.draw_number((0.3, 1.0))
    bend = canvas.draw_offset(0.4)
    x = length * along
    y = bend * along**2
    curve = np.stack([x, y], axis=1)
    cos = np.cos(angle)
    sin = np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    place = canvas.rng.uniform(-0.8, 0.8, 2)
    points = curve @ turn + place
    return Stroke(points, canvas.draw_number((0.01, 0.025)))


def _add_markings(canvas: Canvas, domain: LesionDomain, pose: Pose, image: Array) -> Array:
    """Ink dots, a ruler and gloss, each with the domain's chance."""
    if canvas.flip_coin(domain.markings):
        image = _add_ink(canvas, pose, image)
    if canvas.flip_coin(domain.markings):
        image = _add_ruler(canvas, image)
    if canvas.flip_coin(domain.markings):
        image = _add_gloss(canvas, image)
    return image


def _add_gloss(canvas: Canvas, image: Array) -> Array:
    """White spots of wet skin."""
    peaks = canvas.draw_noise(14) - 1.6
    gloss = 0.35 * clip_to_unit(peaks)
    return image + gloss[..., None]


def _add_ink(canvas: Canvas, pose: Pose, image: Array) -> Array:
    """Four dots around the lesion."""
    angles = canvas.rng.uniform(0, FULL_TURN, 4)
    places = 1.5 * point_towards(angles)
    dots = []
    for place in pose.to_picture(places):
        points = make_segment(place, (0.05, 0.05))
        dots.append(Stroke(points, 0.07))
    coverage = canvas.draw_strokes(dots)
    return paint_over(image, INK, coverage, opacity=0.75)


def _add_ruler(canvas: Canvas, image: Array) -> Array:
    """A white scale along the lower edge."""
    _, y = canvas.grid
    top = canvas.draw_number((0.74, 0.86))
    card = canvas.soft_step(y - top)
    image = paint_over(image, 0.9, card)
    ticks = []
    for x in np.arange(-0.95, 1, 0.13):
        start = np.array([x, top])
        points = make_segment(start, (0, 0.1))
        ticks.append(Stroke(points, 0.02))
    ink = 0.8 * canvas.draw_strokes(ticks)
    return image * (1 - ink[..., None])


def _take_picture(canvas: Canvas, domain: LesionDomain, image: Array) -> Array:
    """Light that falls off, white balance, exposure, the lens's rim, blur and grain."""
    light = _draw_light(canvas, domain)
    imbalance = 0.02 + 0.4 * domain.lighting
    image = expose_colours(canvas, image, light, imbalance, domain.gamma)
    if canvas.flip_coin(domain.rim):
        image = _add_rim(canvas, image)
    return add_blur_and_grain(canvas, image, domain.blur, domain.grain)


def _add_rim(canvas: Canvas, image: Array) -> Array:
    """Darken what lies outside the round lens."""
    radius = canvas.draw_number((1.12, 1.3))
    from_centre = np.hypot(*canvas.grid)
    lens = canvas.soft_step(radius - from_centre, 0.15)
    return image * lens[..., None]


def _draw_light(canvas: Canvas, domain: LesionDomain) -> Array:
    """The lamp's light [H, W]: brighter towards one side, darker towards the corners, uneven."""
    x, y = canvas.grid
    right, down = canvas.rng.normal(0, domain.lighting, 2)
    slope = 1 + right * x + down * y
    falloff = 0.06 * (x**2 + y**2)
    strength = domain.lighting * 0.4
    unevenness = strength * canvas.draw_noise(2)
    return slope - falloff + unevenness
