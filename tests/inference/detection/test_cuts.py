from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.cuts import CutDetector

HEIGHT, WIDTH = 180, 320


def scenery(seed: int) -> UInt8Array:
    """RGB (360, 640): coloured clouds, others for each seed."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (9, 16, 3)).astype(np.float32) * random.uniform(0.3, 1, 3).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC).clip(0, 255), np.uint8)


def still(seed: int, frames: int = 12) -> Iterator[UInt8Array]:
    for _ in range(frames):
        yield scenery(seed)[:HEIGHT, :WIDTH]


def pan(seed: int, frames: int = 12) -> Iterator[UInt8Array]:
    for number in range(frames):
        yield scenery(seed)[50 : 50 + HEIGHT, 12 * number : 12 * number + WIDTH]


def zoom(seed: int, frames: int = 12) -> Iterator[UInt8Array]:
    for number in range(frames):
        width, height = WIDTH - 10 * number, HEIGHT - 5 * number
        yield np.asarray(cv2.resize(scenery(seed)[100 : 100 + height, 100 : 100 + width], (WIDTH, HEIGHT)), np.uint8)


def noise(seed: int, frames: int = 12) -> Iterator[UInt8Array]:
    random = np.random.default_rng(seed)
    for image in still(seed, frames):
        yield np.asarray((image + random.normal(0, 20, image.shape)).clip(0, 255), np.uint8)


def flash(seed: int, frames: int = 12) -> Iterator[UInt8Array]:
    for number, image in enumerate(still(seed, frames)):
        yield np.asarray(image // 2 + (60 if number in (5, 6) else 0), np.uint8)


def cuts(frames: Iterator[UInt8Array]) -> list[int]:
    detector = CutDetector()
    return [number for number, image in enumerate(frames) if detector.is_cut(image)]


@pytest.mark.parametrize("shot", [still, pan, zoom, noise, flash])
def test_motion_noise_and_light_are_no_cuts(shot: Callable[[int], Iterator[UInt8Array]]) -> None:
    assert [cuts(shot(seed)) for seed in range(8)] == [[]] * 8


@pytest.mark.parametrize("shot", [still, pan, zoom, noise])
def test_a_cut_is_found_at_its_frame(shot: Callable[[int], Iterator[UInt8Array]]) -> None:
    def both(seed: int) -> Iterator[UInt8Array]:
        yield from shot(seed)
        yield from shot(seed + 100)

    assert [cuts(both(seed)) for seed in range(8)] == [[12]] * 8


def test_a_frame_of_another_shape_begins_anew() -> None:
    assert cuts(iter([scenery(0), scenery(1)[:100], scenery(1)[:100]])) == []
    assert cuts(iter([scenery(0)[:, :, 0], scenery(1)[:, :, 0]])) == [1]


def test_the_search_for_cuts_imports_nothing_late() -> None:
    """The enclosed process of an uploaded video can import nothing any more."""
    script = """
import sys
import numpy as np
from fer_pipeline.inference.detection.cuts import CutDetector
dark, bright = np.zeros((90, 160, 3), np.uint8), np.zeros((90, 160, 3), np.uint8)
dark[:, :80], bright[:40] = 90, 250
detector, known = CutDetector(), set(sys.modules)
print([detector.is_cut(image) for image in (dark, dark, bright)], sorted(set(sys.modules) - known))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[False, False, True] []\n"
