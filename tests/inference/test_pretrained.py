from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.inference import pretrained
from fer_pipeline.inference.pretrained import INDEX_FILE, model_folder, pretrained_folder, pretrained_models
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256


@pytest.fixture
def weights(tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pretrained models with one, `fast`."""
    folder = tmp_path / "weights"
    shutil.copytree(brightness_model, folder / "fast")
    files = {file.name: file_sha256(file) for file in (folder / "fast").iterdir()}
    entry = {"files": files, "provenance": {"profile": "cpu"}, "metrics": {"accuracy": 0.5}}
    (folder / INDEX_FILE).write_text(json.dumps({"fast": entry}))
    monkeypatch.setattr(pretrained, "WEIGHTS", folder)
    return folder


def test_a_pretrained_model_is_loaded_by_its_name(weights: Path, brightness_model: Path) -> None:
    assert Recognizer.load("fast").info == ModelInfo.read(brightness_model)
    assert pretrained_models()["fast"].provenance == {"profile": "cpu"}


def test_a_folder_may_be_given_as_words_and_a_name_comes_first(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fast").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_folder("fast") == weights / "fast"
    assert model_folder("./fast") == Path("fast")


def test_a_name_that_is_unknown_is_refused_with_those_there_are(weights: Path) -> None:
    with pytest.raises(ModelError, match=r"no pretrained model is named 'slow' \(there are: fast\)"):
        Recognizer.load("slow")


@pytest.mark.parametrize(("alias", "place"), [("champion", "data/bundle"), ("challenger", "data/challenger")])
def test_an_alias_is_the_model_that_the_workspace_keeps_for_it(
    tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch, alias: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=rf"no {alias} in {tmp_path / place}: .*`fer predict --model {alias}` asks the registry"):
        Recognizer.load(alias)
    shutil.copytree(brightness_model, tmp_path / place)
    assert Recognizer.load(alias).info == ModelInfo.read(brightness_model)


def test_without_an_index_there_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    assert pretrained_models() == {}
    with pytest.raises(ModelError, match=r"\(there are: none\)"):
        pretrained_folder("fast")


@pytest.mark.parametrize("file", [MODEL_FILE, "model.json"])
def test_a_changed_file_is_refused(weights: Path, file: str) -> None:
    with (weights / "fast" / file).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(ModelError, match=f"{file} has SHA-256 .* the pretrained model fast was changed"):
        Recognizer.load("fast")


def test_a_missing_file_is_named(weights: Path) -> None:
    (weights / "fast" / MODEL_FILE).unlink()
    with pytest.raises(ModelError, match=r"model\.onnx of the pretrained model fast cannot be read"):
        pretrained_folder("fast")


def test_what_only_training_reads_may_be_left_out(weights: Path) -> None:
    """The wheel has no model.keras; one that is there and differs is refused like any file."""
    index = json.loads((weights / INDEX_FILE).read_text())
    index["fast"]["files"]["model.keras"] = "0" * 64
    (weights / INDEX_FILE).write_text(json.dumps(index))
    assert pretrained_folder("fast") == weights / "fast"
    (weights / "fast" / "model.keras").write_bytes(b"another")
    with pytest.raises(ModelError, match=r"model\.keras has SHA-256"):
        pretrained_folder("fast")


@pytest.mark.parametrize("text", ["", "[]", '{"fast": 3}', '{"fast": {"files": {}}}'])
def test_a_damaged_index_is_refused(weights: Path, text: str) -> None:
    (weights / INDEX_FILE).write_text(text)
    with pytest.raises(ModelError, match="not an index of pretrained models"):
        pretrained_models()


def test_all_models_of_the_package_are_whole() -> None:
    for name in pretrained_models():
        assert ModelInfo.read(pretrained_folder(name)).lineage["shipped_as"] == name
