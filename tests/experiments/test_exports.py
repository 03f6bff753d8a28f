from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from fer_pipeline.errors import ModelError
from fer_pipeline.experiments import exports, registry, runs
from fer_pipeline.experiments.exports import local_export, training_images
from fer_pipeline.experiments.records import EXPORT_PATH
from fer_pipeline.experiments.sqlite_store import opened_store
from fer_pipeline.model_info import CARD_FILE, MODEL_FILE, ModelInfo
from fer_pipeline.promotion import champion, gate


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of the version of each download, in order."""
    seen: list[int] = []
    download = exports._download

    def counted(version: registry.Version, target: Path) -> Path:
        seen.append(version.number)
        return download(version, target)

    monkeypatch.setattr(exports, "_download", counted)
    return seen


def card_in(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / CARD_FILE).write_text(text)
    return folder


def earlier(model: Path, card: Path, *, beside_the_model: bool = False) -> registry.Version:
    """A version as earlier releases registered it.

    First, export and card were in folders of the run, with no files beside the model; then all lay in the model's own folder.
    """
    run_id = runs.ensure_run(None, "tiny", {})
    client = MlflowClient()
    client.log_artifacts(run_id, str(model), "export")
    client.log_artifacts(run_id, str(card), "card")
    version, _ = registry.register(model, ModelInfo.read(model), "fer", run_id, {}, card=card if beside_the_model else None)
    model_id = client.get_model_version("fer", str(version.number)).source.rpartition("/")[2]
    stored = Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    if beside_the_model:
        shutil.copytree(stored / EXPORT_PATH, stored, dirs_exist_ok=True)
    else:
        (stored / MODEL_FILE).write_bytes(b"as MLflow writes it")
    shutil.rmtree(stored / "artifacts")
    return version


def test_one_promotion_downloads_each_version_once(registered: Path, levels: Path, downloads: list[int]) -> None:
    champion.set_champion(registered, registry.find("fer", "1"), None)
    assert downloads == [1]
    challenger = registry.find("fer", "3")
    result = gate.evaluate_challenger(registered, challenger)
    champion.package_version(registered, challenger)
    gate.publish(registered, challenger, result, None)
    champion.set_champion(registered, challenger, "fer version 1")
    assert downloads == [1, 3]
    assert ModelInfo.read(registered / "data" / "bundle").temperature == 3.0


def test_the_model_is_stored_once_and_as_it_was_exported(registered: Path, brightness_model: Path) -> None:
    stored = [path for path in registered.rglob(MODEL_FILE) if "mlruns" in path.parts]
    assert len(stored) == 3  # of three versions
    assert {path.read_bytes() for path in stored} == {(brightness_model / MODEL_FILE).read_bytes()}
    assert mlflow.pyfunc.load_model("models:/fer/1") is not None


def test_versions_of_one_run_keep_their_own_exports(registered: Path, brightness_model: Path) -> None:
    first = registry.find("fer", "1")
    again = Path(shutil.copytree(brightness_model, registered / "again"))
    info = ModelInfo.read(registered / "export3")
    info.write(again)
    second, _ = registry.register(again, info, "other", first.run_id, {})
    assert ModelInfo.read(local_export(first)).temperature == 1.0
    assert ModelInfo.read(local_export(second)).temperature == 3.0


def test_the_card_is_registered_with_the_model(tracking_store: Path, brightness_model: Path, tmp_path: Path) -> None:
    run_id = runs.ensure_run(None, "tiny", {})
    card = card_in(tmp_path / "card", "what it is")
    info = ModelInfo.read(brightness_model)
    version, _ = registry.register(brightness_model, info, "fer", run_id, {}, card=card)
    assert (local_export(version) / CARD_FILE).read_text() == "what it is"
    without, _ = registry.register(brightness_model, info, "other", run_id, {})
    assert not (local_export(without) / CARD_FILE).exists()


def test_a_known_version_gets_the_newer_card(tracking_store: Path, brightness_model: Path, tmp_path: Path) -> None:
    run_id, info = runs.ensure_run(None, "tiny", {}), ModelInfo.read(brightness_model)
    for text, new in (("first", True), ("second", False)):
        card = card_in(tmp_path / text, text)
        version, is_new = registry.register(brightness_model, info, "fer", run_id, {}, card=card)
        assert is_new == new
    assert (local_export(version) / CARD_FILE).read_text() == "second"


@pytest.mark.parametrize("beside_the_model", [True, False])
def test_a_version_of_an_earlier_release_is_downloaded(
    tracking_store: Path, brightness_model: Path, tmp_path: Path, beside_the_model: bool
) -> None:
    version = earlier(brightness_model, card_in(tmp_path / "card", "of then"), beside_the_model=beside_the_model)
    folder = local_export(version)
    assert ModelInfo.read(folder) == ModelInfo.read(brightness_model)
    assert (folder / CARD_FILE).read_text() == "of then"
    with opened_store(tracking_store) as store:  # without MLflow only what lies with the model is found
        assert store is not None
        assert (store.export(version) is not None) == beside_the_model


@pytest.mark.parametrize("beside_the_model", [True, False])
def test_a_newer_card_of_an_earlier_version_is_taken(
    tracking_store: Path, brightness_model: Path, tmp_path: Path, beside_the_model: bool
) -> None:
    version = earlier(brightness_model, card_in(tmp_path / "card", "of then"), beside_the_model=beside_the_model)
    newer = card_in(tmp_path / "newer", "of today")
    info = ModelInfo.read(brightness_model)
    assert registry.register(brightness_model, info, "fer", version.run_id, {}, card=newer) == (version, False)
    assert (local_export(version) / CARD_FILE).read_text() == "of today"


def test_training_images_are_those_of_the_export(registered: Path, note_learned: Callable[[str, Iterable[int]], None]) -> None:
    first, second = registry.find("fer", "1"), registry.find("fer", "2")
    note_learned(first.run_id, [4, 2])
    found = training_images(first)
    assert found is not None
    assert len(found) == 2
    assert training_images(second) is None


def test_a_version_without_an_exported_model_is_an_error(tracking_store: Path) -> None:
    run_id = runs.ensure_run(None, "tiny", {})
    with pytest.raises(ModelError, match="fer version 9 has no exported model"):
        local_export(registry.Version("fer", 9, run_id, {}))
