from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.config.editing import write_values
from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.evaluation.stored_metrics import read_metrics
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.inference import pretrained
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo
from fer_pipeline.models import publish_pretrained
from fer_pipeline.models.publish_pretrained import Sources, publish
from fer_pipeline.models.quantization import QuantizationCheck

PARAMS = EvaluateParams(bootstrap=100, test_time_augmentation=False)
TRAINING = {
    "network": "brightness", "profile": "cpu", "parameters": 8, "epochs": 1, "best_epoch": 1, "seconds": 60.0,
    "images_per_second": 300.0, "backend": "tensorflow", "keras_version": "3.15.1", "source": "nothing", "synthetic": False,
    "run_id": "abc", "labels": list(EMOTIONS), "image_spec": ImageSpec().table_values(),
    "params": {"seed": 7, "early_stopping_patience": 0},
}  # fmt: skip


def set_training_images(data: Path, hashes: list[str]) -> None:
    """Notes that this model learned from the pictures of these hashes."""
    for folder in ("export", "model"):
        write_training_images(data / folder, image_hashes(hashes))


@pytest.fixture
def sources(tmp_path: Path, brightness_model: Path, make_processed: Callable[..., Path]) -> Sources:
    """What a workspace holds after a training, of the brightness model."""
    data = tmp_path / "data"
    shutil.copytree(brightness_model, data / "export")
    (data / "export" / "model.keras").write_bytes(b"keras")
    make_processed(data / "processed", {"train": 7, "validation": 70, "test": 70}, synthetic=False)
    (data / "model").mkdir()
    (data / "model" / "training.json").write_text(json.dumps(TRAINING))
    columns = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_macro_f1", "lr", "size", "seconds")
    (data / "model" / "history.csv").write_text(",".join(columns) + "\n1" + ",0.5" * (len(columns) - 1) + "\n")
    set_training_images(data, [])
    return Sources(data / "export", data / "model", data / "processed", data / "reports")


def test_published_model_is_measured_as_stored(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped model is measured as stored and loads by its name."""
    weights = tmp_path / "weights"
    test = ProcessedTable.open(sources.processed).split("test")
    learned = int(ProcessedTable.open(sources.processed).hashes("test")[test.ids[5]], 16)  # it was trained on another table
    set_training_images(tmp_path / "data", [f"{learned:032x}"])
    shipment = publish("fast", sources, weights, PARAMS, keras=False)
    assert (shipment.difference, shipment.agreement) == (0.0, 1.0)  # all its weights are too few to be stored in 16 bits
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    info = Recognizer.load("fast").info
    assert info.metrics["rows_dedup"] == test.unseen.sum() - 1
    answers = EmotionClassifier.load(weights / "fast").logits(test.images).argmax(axis=1)
    assert info.metrics["accuracy"] == pytest.approx((answers == test.labels).mean())
    assert info.metrics == json.loads((weights / "fast" / "metrics.json").read_text())
    monkeypatch.chdir(tmp_path)
    shutil.copy2(Path(__file__).parents[2] / "params.yaml", tmp_path)
    write_values(tmp_path / "params.yaml", {"evaluate.bootstrap": 100, "evaluate.test_time_augmentation": False})
    again = CliRunner().invoke(app, ["evaluate", "--processed", str(sources.processed), "--model", "fast", "--out", "again"])
    assert again.exit_code == 0, again.output
    measured_again = read_metrics(tmp_path / "again")
    test_figures = {name: value for name, value in info.metrics.items() if not name.startswith("validation_")}
    assert measured_again == pytest.approx(test_figures)  # by its own temperature: this validation split may be its training data
    assert json.loads((tmp_path / "again" / "calibration.json").read_text())["temperature"] == info.temperature
    assert info.lineage == {"run_id": "abc", "shipped_as": "fast"}
    assert (weights / "fast" / "model_card.md").read_text().startswith("# Model card: brightness")
    entry = pretrained.pretrained_models(weights)["fast"]
    assert set(entry.files) == {
        "model.onnx",
        "model.json",
        "metrics.json",
        "model_card.html",
        "model_card.md",
        "training.json",
        "history.csv",
        "reports.json",
        "training_pictures.npy",
    }
    assert entry.provenance["profile"] == "cpu"
    assert entry.metrics["accuracy"] == info.metrics["accuracy"]


def test_index_gains_and_replaces_models(sources: Sources, tmp_path: Path) -> None:
    """A second model joins the index and a new one replaces the old."""
    weights = tmp_path / "weights"
    publish("fast", sources, weights, PARAMS, keras=True)
    publish("accurate", sources, weights, PARAMS, keras=False)
    assert list(pretrained.pretrained_models(weights)) == ["accurate", "fast"]
    assert "model.keras" in pretrained.pretrained_models(weights)["fast"].files
    publish("fast", sources, weights, PARAMS, keras=False)
    assert "model.keras" not in pretrained.pretrained_models(weights)["fast"].files
    assert {path.name for path in weights.iterdir()} == {"accurate", "fast", "index.json"}
    for name in ("accurate", "fast"):
        pretrained.pretrained_folder(name, weights)


def test_a_model_whose_answers_change_is_not_shipped(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(source: Path, target: Path) -> None:
        content = source.read_bytes()
        scale = np.array(-0.1, np.float32).tobytes()
        assert content.count(scale) == 1
        target.write_bytes(content.replace(scale, np.array(-0.11, np.float32).tobytes()))

    monkeypatch.setattr(publish_pretrained, "store_half", spoil)
    with pytest.raises(ModelError, match="a logit moves by up to"):
        publish("fast", sources, tmp_path / "weights", PARAMS, keras=False)
    assert not (tmp_path / "weights" / "fast").exists()
    assert pretrained.pretrained_models(tmp_path / "weights") == {}
    assert publish("fast", sources, tmp_path / "weights", PARAMS, keras=False, tolerance=10.0).agreement == 1.0


@pytest.mark.parametrize("name", ["", "Fast", "../fast", "champion", "a/b"])
def test_a_name_that_is_no_plain_word_is_refused(name: str, sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="the name is"):
        publish(name, sources, tmp_path / "weights", PARAMS, keras=False)


def test_model_of_other_data_is_not_published(sources: Sources, tmp_path: Path) -> None:
    """A model of generated faces or of other pictures is not shipped."""
    info = ModelInfo.read(sources.export)
    for change, reason in (
        ({"synthetic": True}, "generated faces"),
        ({"image_spec": replace(ImageSpec(), crop_scale=1.2)}, "expects image spec"),
    ):
        replace(info, **change).write(sources.export)
        with pytest.raises(ModelError, match=reason):
            publish("fast", sources, tmp_path / "weights", PARAMS, keras=False)
    assert (sources.export / MODEL_FILE).exists()


def test_weights_and_training_of_two_models_are_not_shipped(sources: Sources, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(ModelError, match=message):
            publish("fast", sources, tmp_path / "weights", PARAMS, keras=False)

    training = sources.training / "training.json"
    training.write_text(json.dumps({**TRAINING, "network": "wide", "run_id": "def"}))
    refused("are of two models: network wide in training, brightness in export; run def in training, abc in export. Give")
    training.write_text(json.dumps(TRAINING))
    (sources.training / "model.keras").write_bytes(b"others")
    refused("another model.keras")
    (sources.training / "model.keras").unlink()
    write_training_images(sources.training, image_hashes([f"{1:032x}"]))
    refused("1 pictures learned from in training, 0 in export")
    (sources.export / "training_pictures.npy").unlink()
    refused(f"{sources.export} holds no training_pictures.npy")
    assert not (tmp_path / "weights").exists()


def test_an_export_in_8_bits_keeps_its_precision(sources: Sources, tmp_path: Path) -> None:
    replace(ModelInfo.read(sources.export), precision="int8").write(sources.export)
    with pytest.raises(ModelError, match="computes in 8 bits already"):
        publish("fast", sources, tmp_path / "weights", PARAMS, keras=False, int8=True)
    assert ModelInfo.read(publish("fast", sources, tmp_path / "weights", PARAMS, keras=False).folder).precision == "int8"


def test_answers_that_change_in_8_bits_are_not_shipped(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_pretrained, "quantize_checked", lambda *_: QuantizationCheck(70, 0.95, 0.0))
    with pytest.raises(ModelError, match=r"the same answer for 95.00 % of 70 validation pictures .* Publish it without --int8"):
        publish("fast", sources, tmp_path / "weights", PARAMS, keras=False, int8=True)
    assert not (tmp_path / "weights").exists() or list((tmp_path / "weights").iterdir()) == []


def test_a_model_in_8_bits_says_so(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = QuantizationCheck(70, 1.0, 0.0)
    monkeypatch.setattr(publish_pretrained, "quantize_checked", lambda *_: check)
    published = publish("fast", sources, tmp_path / "weights", PARAMS, keras=False, int8=True)
    assert published.quantization == check
    assert ModelInfo.read(published.folder).precision == "int8"
    assert "convolutions in 8 bits" in (published.folder / "model_card.md").read_text()
