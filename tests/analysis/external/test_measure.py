from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_pipeline.analysis.external.datasets import open_dataset
from fer_pipeline.analysis.external.measure import measure_dataset
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import ImageSpec, crop
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.metrics.intervals import share_interval
from tests.analysis.external.samples import by_brightness, measured, save


def test_an_answer_of_a_lacking_class_counts_as_wrong(tmp_path: Path) -> None:
    """An answer of a class that the set lacks is wrong, unless the choice is restricted."""
    save(tmp_path / "happy" / "1.png", "happy")
    save(tmp_path / "surprise" / "1.png", "surprise")
    save(tmp_path / "surprise" / "2.png", "neutral")  # neutral is answered, which this set lacks; surprise is the next nearest
    result = measured(tmp_path, "ckplus")
    assert result.accuracy.estimate == pytest.approx(2 / 3)
    assert result.restricted_accuracy.estimate == 1.0
    assert result.macro_f1.estimate == pytest.approx((1 + 2 / 3) / 2)  # over happy and surprise alone


def test_unreadable_and_faceless_images_are_named(tmp_path: Path, drawn_face: npt.NDArray[np.uint8]) -> None:
    """Images that cannot be read or show no face are named, and are in no figure."""
    (tmp_path / "happy").mkdir()
    Image.fromarray(drawn_face).save(tmp_path / "happy" / "face.png")
    Image.new("L", (300, 300), 90).save(tmp_path / "happy" / "wall.png")
    (tmp_path / "happy" / "torn.png").write_bytes(b"\x89PNG")
    seen = []

    def answer(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        seen.append(inputs)
        return by_brightness(inputs)

    def largest(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
        found = HaarDetector().detect(image)
        return crop(image, found[0].framing_xyxy) if found else None

    data = open_dataset(tmp_path, "imagefolder")
    result = measure_dataset(data, answer, ImageSpec(), find_face=largest, detector="haar", resamples=10)
    assert (result.unreadable, result.without_face, result.rows) == (("happy/torn.png",), ("happy/wall.png",), 1)
    assert seen[0].shape == (1, 48, 48, 1)


def test_an_interval_has_width_even_where_all_or_none_are_right() -> None:
    assert share_interval(0, 56).low == 0.0
    assert share_interval(0, 56).high == pytest.approx(0.0642, abs=0.0002)  # z^2 / (n + z^2)
    half = share_interval(50, 100)
    assert (half.low, half.high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))  # known table value


def test_a_set_without_any_picture_to_measure_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(SourceError, match="1 are unreadable"):
        measured(tmp_path, "imagefolder")
