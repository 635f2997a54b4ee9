"""Chest X-ray phantom (postero-anterior): bones and organs are added up as an X-ray adds them; mask = both lungs.

Coordinates are the patient's: x to the picture's right (the patient's left), y down, shoulders near -0.6,
diaphragm near 0.4.
"""

import numpy as np

from genseg_betty.data.phantom.camera import add_blur_and_grain
from genseg_betty.data.phantom.canvas import FULL_TURN, Array, Canvas, Stroke, bell_curve, clip_to_unit
from genseg_betty.data.phantom.lung_anatomy import Patient
from genseg_betty.data.phantom.lung_domains import SHIFTED, SOURCE, LungDomain
from genseg_betty.data.phantom.lung_film import add_black_bands, draw_film_objects
from genseg_betty.data.phantom.pose import Pose
from genseg_betty.data.phantom.vessel_tree import Tip, VesselTree

HILUM = (0.17, -0.08)  # where the lung's vessels enter, from the midline
LUNG_VESSELS = VesselTree(length=0.05, bend=0.2, taper=0.92, fork=0.18, least=0.009)
HALF_WIDTHS = {  # of the body, by height y
    -1.1: 0.2,  # neck
    -0.9: 0.24,
    -0.76: 0.55,  # shoulders
    -0.6: 1.0,
    -0.4: 1.1,
}


def draw_lungs(canvas: Canvas, shifted: bool) -> tuple[Array, Array]:
    """Image [H, W] in [0, 1] and mask [H, W] bool."""
    domain = SHIFTED if shifted else SOURCE
    patient = Patient.draw_random(canvas, domain)
    image = _draw_tissue(canvas, patient)
    image += _draw_skeleton(canvas, domain, patient)
    image = _fill_with_air(canvas, domain, patient, image)
    image = _add_stomach_gas(canvas, patient, image)
    image = _expose_film(canvas, domain, patient.pose, image)
    return image, patient.inside > 0


def _draw_tissue(canvas: Canvas, patient: Patient) -> Array:
    """Soft tissue: brighter where the body is thicker, dark beside it."""
    y = patient.y
    depth = _draw_half_width(canvas, y) - patient.side
    in_body = depth > 0
    towards_edge = clip_to_unit(depth / 0.5)
    thickness = np.sqrt(towards_edge)
    tissue = 0.12 + 0.52 * thickness
    image = np.where(in_body, tissue, 0.02)

    # The belly is thicker than the chest, and no body is even.
    towards_belly = 0.06 * np.clip(y, -0.5, 1)
    unevenness = 0.015 * canvas.draw_noise(9)
    image += towards_belly * in_body + unevenness
    if canvas.flip_coin(0.4):
        image += _draw_breasts(canvas, patient)
    return image.astype(np.float32)


def _draw_half_width(canvas: Canvas, y: Array) -> Array:
    """Distance of the body's edge from the midline at each height."""
    torso = canvas.draw_number((0.8, 0.95))
    below_arms = {
        -0.1: torso + 0.04,
        0.4: torso,
        1.1: torso + 0.08,
    }
    outline = HALF_WIDTHS | below_arms
    heights = list(outline.keys())
    half_widths = list(outline.values())
    half_width = np.interp(y, heights, half_widths)
    return half_width.astype(np.float32)


def _draw_breasts(canvas: Canvas, patient: Patient) -> Array:
    low = canvas.draw_number((0.3, 0.5))
    size = canvas.draw_number((0.24, 0.34))
    from_top = patient.y - low + size
    across = (patient.side - 0.45) / 1.2
    from_middle = np.hypot(across, from_top)
    radius = size * 1.3
    outline = canvas.soft_step(radius - from_middle, 0.05)
    fading = canvas.soft_step(from_top, 0.5)
    return 0.09 * outline * fading


def _draw_skeleton(canvas: Canvas, domain: LungDomain, patient: Patient) -> Array:
    """Ribs, spine, heart and clavicles, less the windpipe; to be added."""
    image = _draw_ribs(canvas, domain, patient)
    image += _draw_spine(canvas, patient)
    image += _draw_heart(canvas, patient)
    image -= _draw_windpipe(canvas, patient)
    brightness = canvas.draw_number((0.1, 0.17))
    strokes = _draw_clavicles(canvas)
    clavicles = canvas.draw_strokes(strokes, patient.pose)
    return image + brightness * clavicles


def _draw_ribs(canvas: Canvas, domain: LungDomain, patient: Patient) -> Array:
    """Two sets of arches: those at the back fall outwards, those in front rise outwards and are fainter."""
    anatomy = patient.anatomy
    side = patient.side
    y = patient.y

    # The heart outshines the ribs.
    around_lungs = canvas.soft_step(patient.inside + 0.07, 0.04)
    within_lungs = canvas.soft_step(patient.inside, 0.04)
    cage = 0.35 * around_lungs + 0.65 * within_lungs

    fall = 0.75 * side**3
    height = y - 0.1 * side - fall
    behind = _draw_arches(height, anatomy.rib_spacing, anatomy.rib_phase)
    height = y + 0.65 * side
    spacing = anatomy.rib_spacing * 1.15
    front = _draw_arches(height, spacing, 2 * anatomy.rib_phase)
    brightness = canvas.draw_number(domain.ribs)
    arches = behind + 0.45 * front
    return brightness * cage * arches


def _draw_arches(height: Array, spacing: float, phase: float) -> Array:
    """Bright bands that follow each other at this spacing."""
    turns = height / spacing + phase
    wave = np.cos(FULL_TURN * turns)
    return clip_to_unit(wave * 1.6)


def _draw_spine(canvas: Canvas, patient: Patient) -> Array:
    column = canvas.soft_step(0.085 - patient.side, 0.05)
    wave = np.sin(patient.y * 38)
    vertebrae = 0.06 + 0.02 * wave
    above_pelvis = canvas.soft_step(0.5 - patient.y, 0.5)
    return column * vertebrae * above_pelvis


def _draw_heart(canvas: Canvas, patient: Patient) -> Array:
    across = (patient.x - 0.05) / 0.2
    below_top = canvas.soft_step(patient.y + 0.35, 0.6)
    heart = bell_curve(across) * below_top
    return 0.14 * heart


def _draw_windpipe(canvas: Canvas, patient: Patient) -> Array:
    tube = canvas.soft_step(0.045 - patient.side, 0.04)
    above_fork = canvas.soft_step(-0.2 - patient.y, 0.1)
    return 0.1 * tube * above_fork


def _draw_clavicles(canvas: Canvas) -> list[Stroke]:
    rise = canvas.draw_number((0.02, 0.16))
    along = np.linspace(0, 1, 12)
    outwards = 0.1 + 0.65 * along
    wave = np.sin(FULL_TURN * along)
    height = -0.5 - rise * along + 0.05 * wave
    right = np.stack([-outwards, height], axis=1)
    left = np.stack([outwards, height], axis=1)
    return [Stroke(right, 0.055), Stroke(left, 0.055)]


def _fill_with_air(canvas: Canvas, domain: LungDomain, patient: Patient, image: Array) -> Array:
    """Let the X-rays through the lungs, but for what is dense in them."""
    dense = _draw_vessels_and_hilum(canvas, patient)
    for _ in range(canvas.draw_count(domain.opacities)):
        dense += _draw_opacity(canvas, domain, patient)
    through = canvas.draw_number(domain.lung) - 0.5
    lung = canvas.soft_step(patient.inside, 0.035)
    brightness = through - 0.1 + 0.08 * patient.y
    darkening = 1 + lung * brightness
    image = image * darkening
    return image + lung * dense * 0.6


def _draw_vessels_and_hilum(canvas: Canvas, patient: Patient) -> Array:
    """What is denser than air in any lung, with some unevenness."""
    strokes = _draw_lung_vessels(canvas)
    vessels = canvas.draw_strokes(strokes, patient.pose)
    hilum_x, hilum_y = HILUM
    across = (patient.side - hilum_x) / 0.11
    down = (patient.y - hilum_y) / 0.17
    hilum = bell_curve(across, down)
    dense = 0.13 * vessels + 0.2 * hilum
    unevenness = 0.03 * canvas.draw_noise(24)
    return dense + unevenness


def _draw_opacity(canvas: Canvas, domain: LungDomain, patient: Patient) -> Array:
    """A patch of consolidation."""
    centre_x = canvas.draw_number((-0.55, 0.55))
    centre_y = canvas.draw_number((-0.45, 0.4))
    radius = canvas.draw_number((0.08, 0.25))
    across = (patient.x - centre_x) / radius
    down = (patient.y - centre_y) / radius
    patch = bell_curve(across, down)
    strength = canvas.draw_number(domain.opacity)
    unevenness = 1 + 0.3 * canvas.draw_noise(12)
    return strength * patch * unevenness


def _draw_lung_vessels(canvas: Canvas) -> list[Stroke]:
    """Four trees on each side, from the hilum on."""
    strokes: list[Stroke] = []
    for sign in (-1, 1):
        for _ in range(4):
            heading = canvas.draw_number((-1.2, 1.5))
            width = canvas.draw_number((0.025, 0.04))
            root = Tip(np.array(HILUM), heading, width)
            for points, width in LUNG_VESSELS.grow_strokes(canvas.rng, root):
                mirrored = points * (sign, 1)
                strokes.append(Stroke(mirrored, width))
    return strokes


def _add_stomach_gas(canvas: Canvas, patient: Patient, image: Array) -> Array:
    """The stomach's gas bubble below the diaphragm, dark like lung but not lung."""
    if not canvas.flip_coin(0.6):
        return image
    _, left_base = patient.anatomy.base
    centre_x = canvas.draw_number((0.22, 0.42))
    centre_y = left_base + canvas.draw_number((0.12, 0.2))
    width = canvas.draw_number((0.06, 0.15))
    height = canvas.draw_number((0.03, 0.08))
    across = (patient.x - centre_x) / width
    down = (patient.y - centre_y) / height
    squares = across**2 + down**2
    from_centre = np.sqrt(squares)
    darkness = canvas.draw_number((0.1, 0.3))
    bubble = canvas.soft_step(1 - from_centre, 0.3)
    return image - darkness * bubble


def _expose_film(canvas: Canvas, domain: LungDomain, pose: Pose, image: Array) -> Array:
    """Exposure, bias field, blur and grain; then what lies on the film."""
    bias = domain.bias * canvas.draw_noise(2)
    image = image + bias
    lit = clip_to_unit(image * 1.12)
    image = np.power(lit, canvas.draw_number(domain.gamma))
    image = add_blur_and_grain(canvas, image, domain.blur, domain.grain)
    strokes = draw_film_objects(canvas, domain, pose)
    objects = canvas.draw_strokes(strokes)
    image = image + (0.97 - image) * objects
    if canvas.flip_coin(domain.collimation):
        image = add_black_bands(canvas, image)
    return image
