"""Draw one face from action units, looks, pose, light and camera."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from fer_pipeline.data.synthetic.canvas import SIDE, Canvas, Pose, curve, ellipse, joined, mirrored
from fer_pipeline.data.synthetic.features import Looks, brow, cheek, eye, forehead, mouth, nose
from fer_pipeline.imaging import FACE_SIZE, UInt8Array


def draw_face(rng: np.random.Generator, units: Mapping[int, float]) -> UInt8Array:
    """Draw a gray face uint8 (48, 48), framed as in FER-2013.

    `units` holds the strength of action units, 0 to about 1.
    """
    au = {number: min(strength, 1.2) for number, strength in units.items()}
    looks = _random_looks(rng)
    pose = Pose(
        roll=float(rng.normal(0, 0.09)),
        yaw=float(np.clip(rng.normal(0, 0.2), -0.45, 0.45)),
        pitch=float(np.clip(rng.normal(0, 0.1), -0.25, 0.25)),
        scale=float(rng.uniform(0.88, 1.06)),
        shift_xy=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
    )
    canvas = Canvas(pose, _background(rng))
    jaw = au.get(26, 0.0) * 0.18
    _head(canvas, rng, looks, jaw)
    nose(canvas, rng, looks, au)
    if rng.random() < 0.16:
        _beard(canvas, rng, looks, jaw)
    mouth(canvas, rng, looks, au, jaw)
    gaze = (float(rng.normal(0, 0.03)), float(rng.normal(0, 0.015)))
    for side in (-1, 1):
        uneven = {number: strength * float(rng.uniform(0.85, 1.15)) for number, strength in au.items()}
        eye(canvas, looks, uneven, side, gaze)
        brow(canvas, looks, uneven, side)
        cheek(canvas, looks, uneven, side)
    forehead(canvas, looks, au)
    _hair_in_front(canvas, rng, looks)
    _occlusion(canvas, rng, looks)
    canvas.light(float(rng.normal(0, 0.35)), float(rng.normal(-0.1, 0.2)))
    return _camera(canvas, rng)


def _random_looks(rng: np.random.Generator) -> Looks:
    skin = float(rng.choice([rng.uniform(165, 225), rng.uniform(95, 165)], p=[0.7, 0.3]))
    hair = float(rng.choice([rng.uniform(12, 70), rng.uniform(70, 215)], p=[0.7, 0.3]))
    return Looks(
        skin=skin,
        hair=hair,
        cheek_width=rng.uniform(0.88, 1.06),
        jaw_width=rng.uniform(0.58, 0.84),
        chin=rng.uniform(1.34, 1.54),
        hairline=rng.uniform(-0.98, -0.62),
        eye_open=rng.uniform(0.085, 0.14),
        eye_width=rng.uniform(0.17, 0.22),
        brow_height=rng.uniform(-0.36, -0.27),
        brow_thickness=rng.uniform(0.035, 0.085),
        brow_tone=min(hair, skin * 0.7) * rng.uniform(0.7, 1.0),
        iris=rng.uniform(0.08, 0.1),
        nose_width=rng.uniform(0.17, 0.26),
        nose_length=rng.uniform(0.5, 0.62),
        mouth_width=rng.uniform(0.3, 0.4),
        lip=rng.uniform(0.05, 0.1),
        lip_tone=skin * rng.uniform(0.55, 0.88),
        age=float(rng.beta(1.5, 3)),
    )


def _background(rng: np.random.Generator) -> UInt8Array:
    image = np.empty((SIDE, SIDE), np.uint8)
    image[:] = np.linspace(rng.uniform(10, 240), rng.uniform(10, 240), SIDE)[:, None]
    for _ in range(int(rng.integers(0, 4))):
        corners = rng.integers(0, SIDE, (2, 2)).tolist()
        cv2.rectangle(image, corners[0], corners[1], float(rng.uniform(10, 240)), -1)
    return image


def _head(canvas: Canvas, rng: np.random.Generator, looks: Looks, jaw: float) -> None:
    skin, wide, chin = looks.skin, looks.cheek_width, looks.chin + jaw
    style = rng.choice(["bald", "short", "full", "long"], p=[0.1, 0.45, 0.2, 0.25])
    if style != "bald":
        volume = {"short": 0.06, "full": 0.3, "long": 0.2}[str(style)]
        canvas.fill(ellipse(0, -0.42, wide + volume, 1.1 + volume), looks.hair)
    if style == "long":
        reach = wide + 0.22
        canvas.fill(np.array([[-reach, -0.5], [reach, -0.5], [reach + 0.1, 2.4], [-reach - 0.1, 2.4]]), looks.hair * 0.9)
    canvas.fill(np.array([[-0.55, 1.0], [0.55, 1.0], [0.65, 2.2], [-0.65, 2.2]]), skin * 0.72)  # neck
    if style in ("bald", "short"):
        for side in (-1, 1):
            canvas.fill(mirrored(ellipse(wide + 0.05, 0.22, 0.11, 0.27), side), skin * 0.88)
    half = joined(
        curve((0, -1.28), (wide * 0.75, -1.28), (wide, -0.8), (wide, -0.1)),
        curve((wide, -0.1), (wide, 0.65), (looks.jaw_width * 1.1, 0.95), (looks.jaw_width, 1.15 + jaw * 0.6)),
        curve((looks.jaw_width, 1.15 + jaw * 0.6), (looks.jaw_width * 0.75, chin), (0.2, chin), (0, chin)),
    )
    canvas.fill(joined(half, mirrored(half, -1)[::-1]), skin)
    if style != "bald":
        line = looks.hairline
        part, temple = float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.5, -0.15))
        bow = rng.uniform(-0.2, 0.15, 2)
        canvas.fill(
            joined(
                curve((-wide - 0.02, temple), (-wide * 0.75, temple - 0.1), ((part - wide) / 2, line + bow[0]), (part, line)),
                curve((part, line), ((part + wide) / 2, line + bow[1]), (wide * 0.75, temple - 0.1), (wide + 0.02, temple)),
                curve((wide + 0.02, temple), (wide + 0.1, -1.7), (-wide - 0.1, -1.7), (-wide - 0.02, temple)),
            ),
            looks.hair,
        )
        for x in rng.uniform(-1, 1, 14):  # strands
            strand = curve((part + 0.3 * (x - part), -1.5), (x * 1.1, -1.2), (x * 1.15, line - 0.12 + 0.25 * x**2))
            canvas.line(strand, looks.hair * float(rng.uniform(0.7, 1.35)) + float(rng.uniform(0, 14)), 0.5)
    for side in (-1, 1):  # the head is round: its sides turn away from the light
        canvas.shade(side * wide, 0.4, 0.3, 1.0, -0.28)
        canvas.shade(side * 0.43, 0.02, 0.3, 0.2, -0.13)  # eye sockets
    canvas.shade(0, chin + 0.12, 0.6, 0.16, -0.3)
    canvas.shade(0, -0.55, 0.5, 0.25, 0.1)


def _beard(canvas: Canvas, rng: np.random.Generator, looks: Looks, jaw: float) -> None:
    tone = looks.skin * rng.uniform(0.75, 0.9) if rng.random() < 0.4 else (looks.hair + looks.skin * 0.3) / 1.3
    wide = looks.jaw_width
    half = joined(
        curve((0, 0.82), (0.25, 0.8), (0.45, 0.95)),
        curve((0.45, 0.95), (wide, 0.9), (looks.cheek_width * 0.97, 0.35)),
        curve((looks.cheek_width * 0.99, 0.4), (wide * 1.15, 1.0), (wide, 1.15 + jaw * 0.6)),
        curve((wide, 1.15 + jaw * 0.6), (wide * 0.75, looks.chin + jaw + 0.05), (0, looks.chin + jaw + 0.05)),
    )
    if rng.random() < 0.35:  # a moustache alone
        half = joined(curve((0, 0.8), (0.3, 0.78), (0.42, 1.0)), curve((0.42, 1.0), (0.2, 0.9), (0, 0.9)))
    canvas.fill(joined(half, mirrored(half, -1)[::-1]), tone)


def _hair_in_front(canvas: Canvas, rng: np.random.Generator, looks: Looks) -> None:
    if rng.random() < 0.12:  # a fringe down to the brows
        low = float(rng.uniform(-0.55, -0.35))
        edge = curve((-0.95, low + 0.2), (-0.3, low - 0.1), (0.3, low + 0.1), (0.95, low + 0.15))
        canvas.fill(joined(edge, np.array([[1.0, -1.2], [-1.0, -1.2]])), looks.hair)


def _occlusion(canvas: Canvas, rng: np.random.Generator, looks: Looks) -> None:
    if rng.random() < 0.15:
        _glasses(canvas, rng)
    if rng.random() < 0.06:  # the brim of a hat
        low = float(rng.uniform(-0.75, -0.5))
        brim = curve((-1.3, low), (-0.5, low + 0.15), (0.5, low + 0.15), (1.3, low))
        canvas.fill(joined(brim, np.array([[1.3, -2.0], [-1.3, -2.0]])), float(rng.uniform(20, 200)))
    if rng.random() < 0.06:  # a hand at the cheek or chin
        side = float(rng.choice([-1, 1]))
        x, y = side * float(rng.uniform(0.5, 0.85)), float(rng.uniform(0.7, 1.4))
        for finger in range(4):
            tip = (x - side * 0.25, y - 0.3 + 0.17 * finger)
            canvas.line(curve((x + side * 0.5, y + 0.3 + 0.12 * finger), tip), looks.skin * (0.95 - 0.04 * finger), 3.2)
            canvas.line(curve((x + side * 0.5, y + 0.38 + 0.12 * finger), (tip[0], tip[1] + 0.08)), looks.skin * 0.65, 0.4)
    if rng.random() < 0.05:  # something in front of the camera
        spot = rng.uniform([-0.9, -0.9], [0.9, 1.5])
        size = rng.uniform(0.15, 0.3, 2)
        canvas.fill(spot + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size, float(rng.uniform(10, 240)))


def _glasses(canvas: Canvas, rng: np.random.Generator) -> None:
    tone, width = float(rng.uniform(10, 90)), float(rng.uniform(0.4, 0.9))
    wide, high = float(rng.uniform(0.26, 0.32)), float(rng.uniform(0.19, 0.27))
    for side in (-1, 1):
        rim = ellipse(side * 0.43, 0.03, wide, high)
        if rng.random() < 0.06:
            canvas.fill(rim, tone)
        canvas.line(joined(rim, rim[:1]), tone, width)
        canvas.line(np.array([[side * (0.43 + wide), -0.02], [side * 1.02, -0.05]]), tone, width)
    canvas.line(curve((-0.43 + wide, 0.0), (0, -0.05), (0.43 - wide, 0.0)), tone, width)


def _camera(canvas: Canvas, rng: np.random.Generator) -> UInt8Array:
    """Blur, contrast, exposure and noise of a picture that came from the web."""
    image = canvas.image()
    blur = float(rng.uniform(0, 0.9))
    if blur > 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), dtype=np.float64)
    spread = rng.uniform(0.65, 1.3)
    image = (image - image.mean()) * spread + float(np.clip(rng.normal(128, 26), 60, 195))
    image += rng.normal(0, rng.uniform(1, 7), (FACE_SIZE, FACE_SIZE))
    return np.asarray(np.clip(np.rint(image), 0, 255), dtype=np.uint8)
