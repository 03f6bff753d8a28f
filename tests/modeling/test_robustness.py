from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.analysis.robustness.corruptions import (
    CORRUPTIONS,
    Corruption,
    blur,
    down_scaling,
    gain,
    noise,
    occlusion,
    rotation,
)
from fer_pipeline.analysis.robustness.measure import corrupt, measure_robustness
from fer_pipeline.analysis.robustness.report import write_robustness
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.model_info import ModelInfo

RNG = np.random.default_rng(0)
FACE = np.clip(RNG.normal(120, 50, (48, 48)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_a_corruption_does_more_harm_the_stronger_it_is(corruption: Corruption, drawn_face: npt.NDArray[np.uint8]) -> None:
    face = np.ascontiguousarray(drawn_face[100:292:4, 200:392:4, 0])
    made = [corruption.apply(face, strength, np.random.default_rng(1)) for strength in corruption.strengths]
    assert all(image.shape == (48, 48) and image.dtype == np.uint8 for image in made)
    harm = [np.abs(image.astype(float) - face).mean() for image in made]
    assert harm == sorted(harm)
    assert harm[0] > 0


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_equal_seeds_give_equal_pictures(corruption: Corruption) -> None:
    images = np.stack([FACE, FACE])[..., None]
    made = [corrupt(images, corruption, corruption.strengths[2], np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert made[0].shape == (2, 48, 48, 1)


def test_known_answers_of_the_corruptions() -> None:
    flat = np.full((48, 48), 100, np.uint8)
    rng = np.random.default_rng(0)
    assert np.std(noise(flat, 16, rng)) == pytest.approx(16, rel=0.1)
    np.testing.assert_array_equal(gain(flat, 1.5, rng), 150)
    np.testing.assert_array_equal(gain(flat, 3, rng), 255)
    for unchanged in (blur(flat, 2, rng), rotation(flat, 30, rng), down_scaling(flat, 10, rng), occlusion(flat, 0.3, rng)):
        np.testing.assert_array_equal(unchanged, 100)
    half = np.zeros((48, 48), np.uint8)
    half[:24] = 200
    assert (occlusion(half, 0.25, rng) == 100).sum() == 24 * 24  # its mean gray, on a quarter of the area


def test_brightness_model_is_hurt_by_light_alone(
    make_stripes: Callable[[int, int], FaceDataset],
) -> None:
    """A model that looks at brightness falls to light and to nothing else."""
    faces = make_stripes(70, 0)

    def bright(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:  # the right answer, unless a picture is dark or bright
        means = inputs.mean(axis=(1, 2, 3))
        return np.eye(7)[np.where((means > 100) & (means < 140), faces.labels, (faces.labels + 1) % 7)]

    result = measure_robustness(faces, bright, resamples=50)
    means = {curve.corruption.name: curve.mean for curve in result.curves}
    assert result.clean.estimate == 1.0
    assert max(means["darker"], means["brighter"]) < 0.1  # a few mean gray values stay in range at the mildest strength
    assert {name for name, mean in means.items() if mean == 1.0} == set(means) - {"darker", "brighter"}
    assert result.mean_corruption_accuracy.estimate == pytest.approx(6 / 8, abs=0.02)
    assert result.kept == pytest.approx(6 / 8, abs=0.02)


def test_a_part_of_the_pictures_is_drawn_by_the_seed(make_stripes: Callable[[int, int], FaceDataset]) -> None:
    faces, sizes = make_stripes(30, 0), []

    def first_class(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        sizes.append(len(inputs))
        return np.eye(7)[np.zeros(len(inputs), int)]

    results = [measure_robustness(faces, first_class, sample_size=10, resamples=20, seed=3) for _ in range(2)]
    assert set(sizes) == {10}
    assert results[0] == results[1]
    assert results[0].rows == 10


def test_json_and_page_hold_every_curve(
    tmp_path: Path, make_stripes: Callable[[int, int], FaceDataset], brightness_model: Path
) -> None:
    faces = make_stripes(14, 0)
    result = measure_robustness(faces, lambda inputs: np.eye(7)[np.zeros(len(inputs), int)], resamples=20)
    info = ModelInfo.read(brightness_model)
    values = write_robustness(tmp_path / "out", result, faces, info)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == values
    assert values["accuracy"]["estimate"] == values["mean_corruption_accuracy"]["estimate"] == pytest.approx(1 / 7)
    assert all(len(curve["accuracy"]) == 5 for curve in values["corruptions"].values())
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(corruption.name in page for corruption in CORRUPTIONS)
    assert "synthetic" not in page


def test_the_command_writes_the_report(
    tmp_path: Path, make_processed: Callable[..., Path], brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    make_processed(tmp_path / "data" / "processed", {"test": 14})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["robustness", "--model", str(brightness_model)])
    assert done.exit_code == 0, done.output
    assert "on 14 test pictures" in done.output
    assert (tmp_path / "data" / "reports" / "robustness" / "report.html").is_file()
    facts = json.loads((tmp_path / "data" / "processed" / "facts.json").read_text())
    facts["image_spec"]["contrast"] = "clahe"
    (tmp_path / "data" / "processed" / "facts.json").write_text(json.dumps(facts))
    refused = CliRunner().invoke(app, ["robustness", "--model", str(brightness_model)])
    assert "preprocess again with the values of the model" in str(refused.exception)
