"""Draw eyes, brows, nose and mouth by the strength of their action units.

Action units have the numbers of FACS (Ekman, Friesen, Hager: Facial Action Coding System, 2002); strengths run from 0 to 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fer_pipeline.data.synthetic.canvas import Canvas, curve, ellipse, joined, mirrored


@dataclass(frozen=True)
class Looks:
    """Shape and tones of a face: lengths in face coordinates, tones in gray levels."""

    skin: float
    hair: float
    cheek_width: float
    jaw_width: float
    chin: float
    hairline: float
    eye_open: float
    eye_width: float
    brow_height: float
    brow_thickness: float
    brow_tone: float
    iris: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip: float
    lip_tone: float
    age: float  # depth of lines at rest, 0..1


def nose(canvas: Canvas, rng: np.random.Generator, looks: Looks, au: Mapping[int, float]) -> None:
    """Draw the nose and the folds beside it; action units 9 and 12."""
    wrinkled = au.get(9, 0.0)
    tip = looks.nose_length - 0.07 * wrinkled
    wide = looks.nose_width * (1 + 0.15 * wrinkled + 0.1 * au.get(12, 0.0))
    canvas.shade(0, 0.3, 0.09, 0.35, 0.14)
    canvas.shade(0, tip - 0.05, 0.12, 0.1, 0.16)
    canvas.shade(float(rng.choice([-1, 1])) * 0.15, 0.35, 0.08, 0.3, -0.12)
    canvas.shade(0, tip + 0.12, 0.2, 0.06, -0.18)
    for side in (-1, 1):
        canvas.fill(mirrored(ellipse(wide * 0.45, tip + 0.04, 0.055, 0.028), side), looks.skin * 0.42)
        wing = mirrored(curve((wide * 0.8, tip - 0.1), (wide * 1.15, tip), (wide * 0.75, tip + 0.06)), side)
        canvas.line(wing, looks.skin * 0.72, 0.5)
        depth = 0.12 + 0.2 * looks.age + 0.35 * au.get(12, 0.0) + 0.45 * wrinkled
        fold = curve((wide + 0.03, tip - 0.06), (wide + 0.2, tip + 0.08), (wide + 0.22 + 0.1 * au.get(12, 0.0), tip + 0.38))
        canvas.line(mirrored(fold, side), looks.skin * (1 - min(depth, 0.42)), 0.5)
        canvas.shade(side * (wide + 0.16), tip + 0.1, 0.09, 0.16, -0.18 * depth)
    for step in range(3):  # wrinkles across the bridge
        if wrinkled > 0.15:
            y = -0.06 + 0.11 * step
            canvas.line(curve((-0.12, y + 0.05), (0, y - 0.04), (0.12, y + 0.05)), looks.skin * (1 - 0.5 * min(wrinkled, 1)), 0.5)


def mouth(canvas: Canvas, rng: np.random.Generator, looks: Looks, au: Mapping[int, float], jaw: float) -> None:
    """Draw lips, opening and teeth; action units 9, 12, 15, 16, 20, 23 and 26.

    `jaw` is how far the jaw has dropped.
    """
    smile, down, stretch, tight, drop = (au.get(number, 0.0) for number in (12, 15, 20, 23, 26))
    lower, sneer = au.get(16, 0.0), au.get(9, 0.0)
    middle = 0.9 + float(rng.normal(0, 0.02)) + jaw * 0.2
    wide = looks.mouth_width * (1 + 0.32 * smile + 0.34 * stretch - 0.2 * tight - 0.22 * drop * (1 - min(stretch, 1)))
    corner = middle - 0.17 * smile + 0.15 * down + 0.05 * stretch + 0.3 * jaw
    lip = looks.lip * (1 - 0.6 * min(tight, 1) - 0.2 * smile)
    parted = 0.0 if rng.random() < 0.45 else 0.16 * max(smile - 0.25, 0)  # many smiles show teeth
    gap = 0.42 * drop * (1 - 0.35 * min(stretch, 1)) + parted + 0.1 * max(lower - 0.2, 0) + 0.06 * max(stretch - 0.2, 0)
    upper = middle - 0.06 * sneer - 0.1 * gap
    under = middle + 0.9 * gap + 0.03 * lower
    left, right = (-wide, corner), (wide, corner)
    upper_control, under_control = (1.5 * y - 0.5 * corner for y in (upper, under))
    inner_upper = curve(left, (-wide * 0.4, upper_control), (wide * 0.4, upper_control), right)
    inner_under = curve(left, (-wide * 0.5, under_control), (wide * 0.5, under_control), right)
    top = joined(
        curve(left, (-wide * 0.4, upper - 1.6 * lip), (-0.06, upper - 2.2 * lip), (0, upper - 1.2 * lip)),
        curve((0, upper - 1.2 * lip), (0.06, upper - 2.2 * lip), (wide * 0.4, upper - 1.6 * lip), right),
    )
    bottom = curve(left, (-wide * 0.55, 2 * under - corner + 2.4 * lip), (wide * 0.55, 2 * under - corner + 2.4 * lip), right)
    canvas.fill(joined(top, inner_upper[::-1]), looks.lip_tone * 0.92)
    canvas.fill(joined(inner_under, bottom[::-1]), looks.lip_tone)
    opening = joined(inner_upper, inner_under[::-1])
    if gap > 0.02:
        canvas.fill(opening, 38)
        teeth = 0.45 + 0.5 * min(smile, 1) + 0.2 * min(stretch, 1)
        row = joined(inner_upper, (inner_upper * (1 - teeth) + inner_under * teeth)[::-1]) if gap < 0.2 else None
        if row is None:
            row = joined(inner_upper, (inner_upper + np.array([0, 0.07]))[::-1])
        canvas.fill_inside(row, opening, 222)
        if lower > 0.4:
            canvas.fill_inside(joined(inner_under, (inner_under - np.array([0, 0.05]))[::-1]), opening, 205)
    canvas.line(inner_upper, looks.lip_tone * 0.5, 0.5)
    canvas.shade(0, under + 2.4 * lip + 0.1, 0.25, 0.06, -0.2)
    for side in (-1, 1):
        canvas.shade(side * (wide + 0.04), corner + 0.03 * np.sign(down - smile), 0.07, 0.07, -0.12 - 0.2 * max(smile, down))
        if down > 0.25:
            fold = curve((wide * 1.02, corner + 0.02), (wide * 1.15, corner + 0.1), (wide * 1.1, corner + 0.22))
            canvas.line(mirrored(fold, side), looks.skin * (1 - 0.4 * min(down, 1)), 0.5)


def eye(canvas: Canvas, looks: Looks, au: Mapping[int, float], side: int, gaze: tuple[float, float]) -> None:
    """Draw one eye; action units 5, 6, 7 and 9.

    Side -1 is the left of the image. `gaze` moves the iris.
    """
    raised, cheeks, tight = au.get(5, 0.0), au.get(6, 0.0), au.get(7, 0.0)
    middle, wide = 0.43, looks.eye_width
    above = max(0.03, looks.eye_open * (1 + 0.85 * raised - 0.3 * tight - 0.22 * cheeks - 0.15 * au.get(9, 0.0)))
    below = max(0.015, looks.eye_open * 0.62 * (1 + 0.25 * raised - 0.75 * tight - 0.75 * cheeks - 0.3 * au.get(9, 0.0)))
    inner, outer = (middle - wide, 0.03), (middle + wide, 0.0)
    lid = curve(inner, (middle - wide * 0.4, -above * 1.35), (middle + wide * 0.5, -above * 1.35), outer)
    under = curve(inner, (middle - wide * 0.4, below * 1.35), (middle + wide * 0.5, below * 1.35), outer)
    opening = mirrored(joined(lid, under[::-1]), side)
    canvas.fill(opening, min(235, looks.skin * 1.12))
    center = (side * middle + gaze[0], gaze[1] - 0.01)
    canvas.fill_inside(ellipse(*center, looks.iris, looks.iris), opening, 62)
    canvas.fill_inside(ellipse(*center, looks.iris * 0.5, looks.iris * 0.5), opening, 14)
    canvas.fill_inside(ellipse(center[0] - 0.03, center[1] - 0.03, 0.022, 0.022), opening, 245)
    canvas.line(mirrored(lid, side), min(45, looks.skin * 0.4), 0.8)
    canvas.line(mirrored(under, side), looks.skin * 0.68, 0.4)
    crease = lid + np.array([0, -0.06 - 0.02 * raised])
    canvas.line(mirrored(crease, side), looks.skin * 0.7, 0.4)
    bag = under + np.array([0, 0.07])
    canvas.line(mirrored(bag[2:-2], side), looks.skin * (1 - min(0.5, 0.08 + 0.2 * looks.age + 0.3 * max(cheeks, tight))), 0.5)
    if cheeks > 0.35:  # crow's feet
        for slope in (-0.08, 0.04):
            foot = mirrored(curve((0.7, slope / 2), (0.8, slope)), side)
            canvas.line(foot, looks.skin * (1 - 0.35 * min(cheeks, 1)), 0.4)


def brow(canvas: Canvas, looks: Looks, au: Mapping[int, float], side: int) -> None:
    """Draw one brow; action units 1, 2, 4 and 9."""
    inner_up, outer_up, lowered, wrinkled = (au.get(number, 0.0) for number in (1, 2, 4, 9))
    base, thick = looks.brow_height, looks.brow_thickness
    knit = lowered * 0.8 + wrinkled * 0.5
    inner = (0.17 - 0.06 * knit, base - 0.2 * inner_up + 0.13 * knit * (1 - 0.6 * min(inner_up, 1)))
    arch = (0.42, base - 0.07 - 0.09 * inner_up - 0.17 * outer_up + 0.08 * knit)
    outer = (0.7, base + 0.06 - 0.19 * outer_up + 0.03 * knit + 0.05 * inner_up * (1 - min(outer_up, 1)))
    line = curve(inner, (arch[0] - 0.1, arch[1]), (arch[0] + 0.1, arch[1]), outer)
    taper = np.concatenate([np.linspace(0.8, 1, 7), np.linspace(1, 0.25, 7)])[:, None] * np.array([[0, thick]])
    canvas.fill(mirrored(joined(line - taper, (line + taper)[::-1]), side), looks.brow_tone)
    canvas.shade(side * 0.2, -0.15, 0.14, 0.1, -0.22 * min(knit, 1))


def cheek(canvas: Canvas, looks: Looks, au: Mapping[int, float], side: int) -> None:
    """Draw the shades of one cheek; action units 6, 12 and 26."""
    lifted = max(au.get(6, 0.0), 0.7 * au.get(12, 0.0))
    canvas.shade(side * 0.55, 0.55 - 0.12 * lifted, 0.22, 0.18, 0.07 + 0.15 * lifted)
    canvas.shade(side * 0.6, 0.9, 0.14, 0.22, -0.08 - 0.1 * au.get(26, 0.0))


def forehead(canvas: Canvas, looks: Looks, au: Mapping[int, float]) -> None:
    """Draw lines across the forehead (units 1 and 2) and between the brows (4)."""
    raised, knit = (au.get(1, 0.0) + au.get(2, 0.0)) / 2, au.get(4, 0.0)
    lines = 0.12 * looks.age + 0.35 * raised
    if lines > 0.1:
        for y in (-0.72, -0.6):
            canvas.line(curve((-0.45, y + 0.03), (0, y - 0.02), (0.45, y + 0.03)), looks.skin * (1 - min(lines, 0.4)), 0.4)
    if knit > 0.2:
        for side in (-1, 1):
            canvas.line(mirrored(curve((0.06, -0.42), (0.045, -0.2)), side), looks.skin * (1 - 0.5 * min(knit, 1)), 0.5)
