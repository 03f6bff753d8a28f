from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.analysis.explain.faithfulness import (
    BASELINES,
    STEPS,
    deletion_insertion_curves,
    measure_faithfulness,
    sample_evenly,
)
from fer_pipeline.analysis.explain.gradcam import GradCam
from fer_pipeline.analysis.explain.lime import CELL, lime_maps
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import ModelError
from fer_pipeline.inference.saliency import occlusion_maps
from fer_pipeline.training.networks.zoo import build

MOUTH = (slice(32, 40), slice(16, 32))
HAPPY = 3


def by_mouth(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Happy is the likelier the more the mouth alternates between dark and bright; the rest shares what is left."""
    happy = inputs[:, MOUTH[0], MOUTH[1], 0].astype(float).std(axis=(1, 2)) / 128
    probabilities = np.repeat(((1 - happy) / 6)[:, None], 7, axis=1)
    probabilities[:, HAPPY] = happy
    return probabilities


def noisy_faces(rows: int) -> FaceDataset:
    images = np.random.default_rng(0).integers(0, 256, (rows, 48, 48, 1), dtype=np.uint8)
    labels = np.arange(rows) % 7
    ids = np.array([str(row) for row in range(rows)])
    return FaceDataset(images, labels, ids, ids, np.zeros(rows, np.int32), np.zeros(rows, np.bool_))


def mouth_map(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    heat = np.zeros((7, 48, 48))
    heat[:, MOUTH[0], MOUTH[1]] = 1
    return heat


@pytest.mark.parametrize("explain", [lime_maps, occlusion_maps])
def test_a_map_is_highest_where_the_model_looks(explain: Callable[..., npt.NDArray[np.float64]]) -> None:
    maps = explain(noisy_faces(1).images[0], by_mouth)
    assert maps.shape == (7, 48, 48)
    inside = np.zeros((48, 48), bool)
    inside[MOUTH] = True
    assert maps[HAPPY][inside].mean() > 5 * np.abs(maps[HAPPY][~inside]).mean()
    assert maps[0][inside].mean() < 0  # what speaks for happy speaks against the rest


def test_lime_is_equal_for_equal_seeds_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    face = noisy_faces(1).images[0]
    first, second = (lime_maps(face, by_mouth, samples=100, seed=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    cells = first.reshape(7, 48 // CELL, CELL, 48 // CELL, CELL)
    assert (cells == cells[:, :, :1, :, :1]).all()  # one weight per cell
    assert capfd.readouterr() == ("", "")


def test_occlusion_of_a_flat_face_changes_nothing() -> None:
    flat = np.full((48, 48, 1), 90, np.uint8)
    np.testing.assert_array_equal(occlusion_maps(flat, by_mouth), 0)


def small_network() -> keras.Model:
    """Class 3 sums the bright parts of the picture, class 4 the dark ones."""
    image = keras.Input((48, 48, 1), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = keras.layers.Conv2D(2, 1, activation="relu", name="parts")(x)
    x = keras.layers.AveragePooling2D(8)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(image, keras.layers.Dense(7, name="logits")(x))
    network.get_layer("parts").set_weights([np.array([[[[1.0, -1.0]]]]), np.zeros(2)])
    weights = np.zeros((2, 7))
    weights[0, 3] = weights[1, 4] = 1
    network.get_layer("logits").set_weights([weights, np.zeros(7)])
    return network


def test_grad_cam_names_the_parts_that_feed_a_class() -> None:
    image = np.full((48, 48, 1), 128, np.uint8)
    image[8:16, 8:16] = 255
    image[32:40, 32:40] = 0
    maps = GradCam(small_network()).maps(image)
    assert maps.shape == (7, 48, 48)
    assert maps.min() == 0
    bright, dark = (np.unravel_index(maps[index].argmax(), (48, 48)) for index in (3, 4))
    assert all(8 <= place < 16 for place in bright)
    assert all(32 <= place < 40 for place in dark)
    assert not maps[0].any()  # a class that nothing feeds


@pytest.mark.parametrize("network", ["plain_cnn", "mini_xception", "compact"])
def test_grad_cam_knows_networks_with_and_without_global_pooling(network: str) -> None:
    maps = GradCam(build(TrainParams(network=network, epochs=1, batch_size=8))).maps(noisy_faces(1).images[0])
    assert maps.shape == (7, 48, 48)
    assert maps.max() > 0


def test_grad_cam_refuses_a_network_without_places() -> None:
    values = keras.Input((2304,))
    with pytest.raises(ModelError, match="use --method lime or occlusion"):
        GradCam(keras.Model(values, keras.layers.Dense(7)(values)))


def test_deletion_falls_and_insertion_rises_at_once_for_the_true_map() -> None:
    face = noisy_faces(1).images[0]
    deletion, insertion = deletion_insertion_curves(face, mouth_map(face)[HAPPY], by_mouth, HAPPY)
    whole = by_mouth(face[None])[0, HAPPY]
    blurred = by_mouth(cv2.GaussianBlur(face[:, :, 0], (0, 0), 6, borderType=cv2.BORDER_REPLICATE)[None, :, :, None])[0, HAPPY]
    assert len(deletion) == len(insertion) == STEPS + 1
    assert deletion[0] == insertion[-1] == whole
    assert deletion[2:] == pytest.approx(blurred)  # two steps take the 128 pixels of the mouth
    assert insertion[2:] == pytest.approx(whole)


def test_a_true_map_is_trusted_and_a_false_one_is_not() -> None:
    def only_happy(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        probabilities = by_mouth(inputs)
        return np.where(np.arange(7) == HAPPY, probabilities, probabilities / 10)

    rows = measure_faithfulness(
        noisy_faces(20), only_happy, {"true": mouth_map, "false": lambda image: -mouth_map(image)}, sample_size=14
    )
    found = {row.method: row for row in rows}
    assert tuple(found) == ("true", "false", *BASELINES)
    assert found["true"].trusted
    assert not any(found[name].trusted for name in ("false", *BASELINES))
    assert found["true"].deletion_auc < found["random"].deletion_auc
    assert found["true"].insertion_auc > found["centre"].insertion_auc
    assert found["true"].score.low <= found["true"].score.estimate <= found["true"].score.high


def test_pictures_are_drawn_evenly_over_labels_as_long_as_there_are_some() -> None:
    labels = np.array([0] * 50 + [1] * 2 + [2] * 10)
    chosen = sample_evenly(labels, 12, seed=1)
    assert np.bincount(labels[chosen]).tolist() == [5, 2, 5]
    assert len(set(chosen)) == 12
    assert (chosen == sample_evenly(labels, 12, seed=1)).all()
    assert len(sample_evenly(labels, 100, seed=0)) == 62


@pytest.fixture
def workspace(
    tmp_path: Path, make_processed: Callable[..., Path], brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    make_processed(tmp_path / "data" / "processed", {"test": 21})
    (tmp_path / "data" / "export").symlink_to(brightness_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_report_compares_what_can_be_measured_and_names_what_cannot(workspace: Path) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    done = CliRunner().invoke(app, ["explain-report", "--pictures", "7"])
    assert done.exit_code == 0, done.output
    assert "left out: gradcam" in done.output  # the test model is ONNX only
    out = workspace / "data" / "reports" / "explanation"
    values = json.loads((out / "metrics.json").read_text())
    assert list(values["methods"]) == ["lime", "occlusion", *BASELINES]
    assert "needs model.keras, which this model does not ship" in values["absent"]["gradcam"]
    assert "gradcam was not measured" in (out / "report.html").read_text()


def test_one_picture_is_explained_as_a_png(workspace: Path, drawn_face: npt.NDArray[np.uint8]) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    cv2.imwrite("face.png", drawn_face)
    cv2.imwrite("wall.png", np.full((200, 200), 90, np.uint8))
    done = CliRunner().invoke(app, ["explain", "face.png", "--method", "lime", "--out", "out/map.png"])
    assert done.exit_code == 0, done.output
    assert (workspace / "out" / "map.png").read_bytes().startswith(b"\x89PNG")
    for arguments, message in (
        (["wall.png"], "no face was found"),
        (["missing.png"], "cannot be read"),
        (["face.png", "--method", "shap"], "expected one of lime"),
        (["face.png", "--method", "gradcam"], "needs model.keras, which this model does not ship"),
    ):
        refused = CliRunner().invoke(app, ["explain", *arguments, "--out", "x.png"])
        assert message in str(refused.exception)
    assert not (workspace / "x.png").exists()
