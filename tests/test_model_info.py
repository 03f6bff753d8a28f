from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.model_info import INFO_FILE, MODEL_FILE, ModelInfo, file_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / MODEL_FILE).write_bytes(b"weights")
    info = ModelInfo(
        network="compact",
        sha256=file_sha256(tmp_path / MODEL_FILE),
        temperature=1.5,
        image_spec=ImageSpec(contrast="clahe"),
        synthetic=True,
        data="synthetic",
        lineage={"run_id": "r1"},
        metrics={"accuracy": 0.5},
    )
    info.write(tmp_path)
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    content = json.loads((folder / INFO_FILE).read_text())
    (folder / INFO_FILE).write_text(json.dumps({**content, **values}))


def test_the_name_in_each_answer_says_what_it_was_trained_on(folder: Path) -> None:
    assert ModelInfo.read(folder).name == "compact (drawn faces)"
    change(folder, lineage={"name": "fer", "version": "1"})
    assert ModelInfo.read(folder).name == "fer/1 (drawn faces)"
    change(folder, synthetic=False)
    assert ModelInfo.read(folder).name == "fer/1"


def test_what_was_written_is_read_back(folder: Path) -> None:
    info = ModelInfo.read(folder)
    assert info.image_spec == ImageSpec(contrast="clahe")
    assert info.lineage == {"run_id": "r1"}
    assert info.temperature == 1.5


def test_changed_weights_are_refused(folder: Path) -> None:
    (folder / MODEL_FILE).write_bytes(b"other")
    with pytest.raises(ModelError, match="changed or damaged"):
        ModelInfo.read(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": ["happy", "sad"]}, "this code expects"),  # another label order would relabel every answer
        ({"temperature": 0}, "positive"),
        ({"image_spec": {"size": 64}}, "size 64"),
        ({"image_spec": {"sizes": 48}}, "does not fit"),
        ({"image_spec": {"version": 2}}, "version 2"),
        ({"image_spec": None}, "no model description"),
        ({"extra": 1}, "does not fit"),
    ],
)
def test_a_model_for_other_code_is_refused(folder: Path, values: dict[str, Any], message: str) -> None:
    change(folder, **values)
    with pytest.raises(ModelError, match=message):
        ModelInfo.read(folder)


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fer run"):
        ModelInfo.read(tmp_path)


def test_a_broken_description_is_named(folder: Path) -> None:
    (folder / INFO_FILE).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        ModelInfo.read(folder)


def test_the_fingerprint_tells_specs_apart() -> None:
    assert ImageSpec().fingerprint == ImageSpec().fingerprint
    assert ImageSpec().fingerprint != replace(ImageSpec(), denoise="median").fingerprint


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"image_spec": {"size": 1}}, r"^m expects image spec \{.*\}, t holds \{'size': 1\}: preprocess again"),
        ({"source": {"synthetic": True}}, "^m was trained on real faces, t holds generated ones: make the data of the model"),
    ],
)
def test_a_table_that_does_not_fit_names_both(metadata: dict[str, Any], message: str) -> None:
    info = ModelInfo("compact", "0" * 64, 1.0, ImageSpec(), synthetic=False, data="faces")
    fitting = {"image_spec": ImageSpec().table_values(), "source": {"synthetic": False}}
    info.check_table(fitting, model="m", table="t")
    with pytest.raises(ModelError, match=message):
        info.check_table(fitting | metadata, model="m", table="t")


def test_the_image_spec_is_checked_without_the_kind_of_faces() -> None:
    info = ModelInfo("compact", "0" * 64, 1.0, ImageSpec(), synthetic=False, data="faces")
    info.check_image_spec({"image_spec": ImageSpec().table_values(), "source": {"synthetic": True}}, model="m", table="t")
