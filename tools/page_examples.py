"""Make the example pictures of the page from files of installed packages.

`python -m tools.page_examples` writes fer_pipeline/serving/web/examples.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fer_pipeline.data.synthetic.generator import draw_faces
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.serving.app import WEB

EXAMPLES = WEB / "examples"

ORIGINS = {
    "collins.jpg": "Eileen Collins, photographed by NASA (https://flic.kr/p/r9qvLn). Public domain: a work of the United States "
    "government. Taken from scikit-image, data/astronaut.png, and scaled down.",
    "hopper.jpg": "Grace Hopper, photographed by the U.S. Navy. Public domain: a work of the United States government. Taken "
    "from matplotlib, mpl-data/sample_data/grace_hopper.jpg, and scaled down.",
    "drawn.jpg": "Six faces drawn by fer_pipeline/data/synthetic; they show nobody.",
}

_HEIGHT = 320  # pixels of the photographs
_SEED = 2
_SHOWN = ("happy", "surprise", "neutral", "angry", "sad", "fear")
_SIDE, _GAP = 160, 32  # pixels of a drawn face, and between two


def main(folder: Path = EXAMPLES) -> None:
    """Write the pictures, and ORIGINS.txt beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    _scaled(_installed("skimage", "data/astronaut.png")).save(folder / "collins.jpg", quality=82)
    _scaled(_installed("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")).save(folder / "hopper.jpg", quality=82)
    Image.fromarray(_drawn()).save(folder / "drawn.jpg", quality=82)
    (folder / "ORIGINS.txt").write_text("".join(f"{name}: {origin}\n" for name, origin in ORIGINS.items()), encoding="utf-8")


def _installed(package: str, path: str) -> Path:
    found = importlib.util.find_spec(package)  # found, and not imported: only its file is read
    if found is None or found.origin is None:
        raise SystemExit(f"the package {package} is not installed: make install")
    return Path(found.origin).parent / path


def _scaled(path: Path) -> Image.Image:
    with Image.open(path) as image:
        width = round(image.width * _HEIGHT / image.height)
        return image.convert("RGB").resize((width, _HEIGHT), Image.Resampling.LANCZOS)


def _drawn() -> UInt8Array:
    """Draw one face of each emotion in `_SHOWN`, RGB uint8 in two rows of three."""
    faces, labels = draw_faces(len(EMOTIONS) * 6, _SEED)
    names = [EMOTIONS[label] for label in labels]
    step = _SIDE + _GAP
    canvas = np.full((2 * step + _GAP, 3 * step + _GAP), 225, np.uint8)
    for place, emotion in enumerate(_SHOWN):
        y, x = (_GAP + step * part for part in divmod(place, 3))
        face = faces[names.index(emotion)]
        canvas[y : y + _SIDE, x : x + _SIDE] = cv2.resize(face, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.repeat(canvas[:, :, np.newaxis], 3, axis=2))


if __name__ == "__main__":
    main()
