"""Draw and photograph the pictures of README: `python -m tools.readme_pictures`.

The faces are drawn by the generator of synthetic faces, so that no person is shown. `docs/pictures/faces.jpg` is the picture
that README recognizes; `page.webp` is the page of `fer serve` with its answer, `video.webp` the report of a generated video.
The last two need Chromium. Run it after a change of the page or of the report, and look at the results.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np

from fer_pipeline.data.synthetic.face import draw_face
from fer_pipeline.data.synthetic.generator import EMOTION_ACTION_UNITS, draw_faces
from fer_pipeline.imaging import UInt8Array

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
FER: Final = Path(sys.executable).with_name("fer")

_DRAWN: Final = (300, 1)  # number and seed
_FACES: Final = (176, 145, 265)  # of these: happy, surprise and sad, chosen among those that `fast` names so
_BACKGROUND: Final = 205
_WIDTH: Final = 1100
_PERSON: Final = 88  # seed of the person in the video
_FRAMES_PER_SECOND: Final = 25
_EXPRESSIONS: Final = ("neutral", "happy", "neutral", "surprise", "sad", "happy")
_SECONDS_EACH: Final = 1.2


def group_picture() -> UInt8Array:
    """Draw three faces beside each other, RGB uint8 (300, 780, 3)."""
    faces, _ = draw_faces(*_DRAWN)
    picture = np.full((300, 780, 3), _BACKGROUND, np.uint8)
    for place, number in enumerate(_FACES):
        _paste(picture, faces[number], (25, 10 + 255 * place), 250)
    return picture


def video_frames() -> Iterator[UInt8Array]:
    """Draw a person whose expression changes, as RGB uint8 (360, 640, 3) frames."""
    for number in range(int(_FRAMES_PER_SECOND * _SECONDS_EACH * len(_EXPRESSIONS))):
        frame = np.full((360, 640, 3), _BACKGROUND, np.uint8)
        _paste(frame, _moving_face(number / _FRAMES_PER_SECOND), (30, 170), 300)
        yield frame


def _moving_face(seconds: float) -> UInt8Array:
    """Draw the person at a time.

    The strength of each expression rises and falls within its turn.
    """
    turn, part = divmod(seconds / _SECONDS_EACH, 1.0)
    units = EMOTION_ACTION_UNITS[_EXPRESSIONS[min(int(turn), len(_EXPRESSIONS) - 1)]]
    strength = min(1.0, 3 * min(part, 1 - part))
    return draw_face(np.random.default_rng(_PERSON), dict.fromkeys(units, strength))


def _paste(picture: UInt8Array, face: UInt8Array, corner: tuple[int, int], side: int) -> None:
    """Enlarge a gray face and fade it into a picture at a corner (y, x)."""
    y, x = corner
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)[..., np.newaxis]
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) / 24
    fade = np.minimum(np.minimum(edge[:, np.newaxis], edge), 1)[..., np.newaxis]
    part = picture[y : y + side, x : x + side]
    part[:] = (fade * large + (1 - fade) * part).round()


def write_video(file: Path) -> None:
    """Write the generated video as MP4."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(_FRAMES_PER_SECOND))
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for picture in video_frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    """Write all three pictures."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    faces = FOLDER / "faces.jpg"
    cv2.imwrite(str(faces), group_picture(), [cv2.IMWRITE_JPEG_QUALITY, 85])  # gray: the order of channels is the same
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        work = Path(name)
        write_video(work / "clip.mp4")
        subprocess.run([FER, "video", "clip.mp4", "--out", ".", "--model", "fast"], cwd=work, check=True)
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": 800}, locale="en-GB", color_scheme="light")
        with _service(work) as address:
            page.goto(address)
            page.set_input_files("input[type=file] >> nth=0", str(faces))
            page.wait_for_timeout(4000)
            _keep(page.screenshot(), "page.webp")
        page.goto((work / "clip" / "report.html").as_uri())
        page.evaluate("document.querySelector('h2').scrollIntoView(); player.currentTime = 4")
        page.wait_for_timeout(1500)
        _keep(page.screenshot(), "video.webp")
        browser.close()


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("no Chromium on this machine, expected chromium, chromium-browser or google-chrome on the path")
    return found


@contextmanager
def _service(work: Path) -> Iterator[str]:
    """Run `fer serve` on a free port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([FER, "serve", "--model", "fast", "--port", str(port)], cwd=work)
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                urllib.request.urlopen(f"{address}/readyz", timeout=2).close()
                break
            except OSError:
                continue
        yield address
    finally:
        process.terminate()
        process.wait()


def _keep(png: bytes, name: str) -> None:
    image: Any = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(FOLDER / name), image, [cv2.IMWRITE_WEBP_QUALITY, 80])


if __name__ == "__main__":
    main()
