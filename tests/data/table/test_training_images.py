"""A model of another table, whose list names validation and test rows of this one. Row n of the table has content hash n."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import (
    check_unseen,
    image_hashes,
    joined_training_images,
    load_held_out,
    load_test,
    read_training_images,
    share_seen,
    write_training_images,
)
from fer_pipeline.errors import ModelError, MonitoringError
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.model_info import TRAINING_IMAGES_FILE
from fer_pipeline.models.distillation import distill_offline
from fer_pipeline.models.ensemble import build_ensemble
from fer_pipeline.models.logit_adjustment import adjust_logits
from fer_pipeline.monitoring.drift_check import reference_of
from tools.list_training_images import list_images

PLAIN = EvaluateParams(bootstrap=100)


@pytest.fixture
def processed(tmp_path: Path, make_processed: Callable[..., Path]) -> Path:
    """Rows 0 to 27 are train, 28 to 327 validation, 328 to 355 test."""
    return make_processed(tmp_path / "processed", {"train": 28, "validation": 300, "test": 28}, synthetic=False)


@pytest.fixture
def unlisted(tmp_path: Path, brightness_model: Path) -> Path:
    """A model of which it is not known what it learned from."""
    return Path(shutil.copytree(brightness_model, tmp_path / "old"))


@pytest.fixture
def model(unlisted: Path) -> Path:
    return learn(unlisted)


def learn(model: Path, *rows: range) -> Path:
    write_training_images(model, image_hashes(f"{row:032x}" for found in rows for row in found))
    return model


def test_keys_are_sorted_and_each_there_once() -> None:
    assert image_hashes(["f" * 32, "0" * 31 + "1", "0" * 31 + "1"]).tolist() == [1, 2**64 - 1]


def test_list_is_read_as_written_or_is_absent(tmp_path: Path) -> None:
    """A list is read as it was written and a model may have none."""
    assert read_training_images(tmp_path) is None
    write_training_images(tmp_path, image_hashes(["f" * 32, "0" * 32]))
    found = read_training_images(tmp_path)
    assert found is not None
    assert found.dtype == np.uint64
    assert found.tolist() == [0, 2**64 - 1]


@pytest.mark.parametrize("content", [b"not numpy", b""])
def test_a_damaged_list_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / TRAINING_IMAGES_FILE).write_bytes(content)
    with pytest.raises(ModelError, match="export the model again"):
        read_training_images(tmp_path)


def test_a_list_of_other_numbers_is_a_model_error(tmp_path: Path) -> None:
    np.save(tmp_path / TRAINING_IMAGES_FILE, np.zeros((2, 2)))
    with pytest.raises(ModelError, match="float64 of shape \\(2, 2\\), expected uint64"):
        read_training_images(tmp_path)


def test_the_list_of_several_models_is_the_union_of_theirs(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        learn(folder, range(number, number + 2))
    assert joined_training_images(folders).tolist() == [0, 1, 2]


def test_model_without_list_is_refused_wherever_it_is_needed(
    processed: Path, model: Path, tmp_path: Path, brightness_model: Path
) -> None:
    """A model without a list takes part in nothing that needs to know it."""
    models = {"listed": model, "other": brightness_model}
    expected = f"{brightness_model} holds no training_pictures.npy.*`python -m tools.list_training_images {brightness_model}"
    for refused in (
        lambda: load_test(ProcessedTable.open(processed), *models.values()),
        lambda: load_held_out(ProcessedTable.open(processed), models),
        lambda: check_unseen(models, ProcessedTable.open(processed)),
        lambda: build_ensemble(models, processed, tmp_path / "out", PLAIN, {}),
        lambda: adjust_logits(brightness_model, processed, tmp_path / "out", PLAIN, 0.5),
        lambda: distill_offline(models, processed, tmp_path / "out"),
    ):
        with pytest.raises(ModelError, match=expected):
            refused()
    assert not (tmp_path / "out").exists()


def test_missing_list_is_written_once_from_the_table(processed: Path, unlisted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list of a model without one can be made of its table once."""
    list_images(str(unlisted), processed)
    assert "names the 28 pictures" in capsys.readouterr().out.replace("\n", " ")
    assert joined_training_images([unlisted]).tolist() == list(range(28))
    with pytest.raises(ModelError, match="is there already"):
        list_images(str(unlisted), processed)


def test_test_rows_that_a_model_learned_from_count_as_seen(processed: Path, model: Path) -> None:
    assert load_test(ProcessedTable.open(processed), model).unseen.sum() == 26  # two are copies of this table's train rows
    learn(model, range(340, 345))
    test = load_test(ProcessedTable.open(processed), model)
    assert len(test) == 28
    assert np.flatnonzero(~test.unseen).tolist() == [0, 1, 12, 13, 14, 15, 16]


def test_validation_rows_that_a_model_learned_from_are_left_out(processed: Path, model: Path) -> None:
    assert len(load_held_out(ProcessedTable.open(processed), {"old": model})) == 300
    learn(model, range(28), range(28, 128))
    held_out = load_held_out(ProcessedTable.open(processed), {"old": model})
    assert len(held_out) == 200
    assert held_out.ids[0] == "00000128"


def test_too_few_unseen_rows_are_refused(processed: Path, model: Path, tmp_path: Path) -> None:
    """Too few rows that a model did not learn from are no ground for a choice."""
    learn(model, range(28), range(28, 129))
    expected = "learned from 101 of the 300 validation rows.*199 are left, expected at least 200.*validation_share"
    with pytest.raises(ModelError, match=expected):
        adjust_logits(model, processed, tmp_path / "balanced", PLAIN, 0.5)
    with pytest.raises(ModelError, match=expected):
        build_ensemble({"a": model, "b": model}, processed, tmp_path / "ensemble", PLAIN, {})
    with pytest.raises(MonitoringError, match=expected):
        reference_of(EmotionClassifier.load(model), model, processed)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} >= {"processed"}
    assert not (tmp_path / "balanced").exists()
    assert not (tmp_path / "ensemble").exists()


def test_ensemble_uses_rows_that_no_member_has_seen(processed: Path, model: Path, tmp_path: Path) -> None:
    """An ensemble is calibrated and measured on rows that no member learned from and says what they learned from."""
    learn(model, range(28, 38), range(328, 331))
    made = build_ensemble({"a": model, "b": model}, processed, tmp_path / "ensemble", PLAIN, {})
    assert made.info.metrics["rows"] == 28
    assert made.info.metrics["rows_dedup"] == 25  # row 328 and 329 are copies in this table, too
    learned = read_training_images(tmp_path / "ensemble")
    assert learned is not None
    assert learned.tolist() == [*range(28, 38), *range(328, 331)]


def test_drift_reference_leaves_out_training_images(processed: Path, model: Path) -> None:
    """The reference of the drift check holds no row that the model learned from."""
    learn(model, range(28), range(28, 78))
    assert len(reference_of(EmotionClassifier.load(model), model, processed).probabilities) == 250


def test_drift_reference_needs_the_data_of_the_model(processed: Path, model: Path) -> None:
    """The table is a reference for models of its own data alone also with corrections that came later."""
    learn(model, range(20))  # the other 8 training rows are corrections that were accepted since
    assert share_seen(ProcessedTable.open(processed), image_hashes(f"{row:032x}" for row in range(20))) == 20 / 28
    assert len(reference_of(EmotionClassifier.load(model), model, processed).probabilities) == 300
    learn(model, range(24, 400))  # what another table has in common with this one by chance
    expected = r"trained on other data \(nothing\): it learned from 14% of the training pictures of .*expected at least 50%"
    with pytest.raises(MonitoringError, match=expected):
        reference_of(EmotionClassifier.load(model), model, processed)


def test_a_teacher_that_knows_validation_or_test_rows_is_refused(processed: Path, model: Path, tmp_path: Path) -> None:
    learn(model, range(28), range(28, 31), range(328, 330))  # 1 %, and test rows with a copy in train
    check_unseen({"old": model}, ProcessedTable.open(processed))
    assert distill_offline({"old": model}, processed, tmp_path / "labels").rows == len(
        ProcessedTable.open(processed).split("train")
    )
    learn(model, range(28, 32))
    with pytest.raises(ModelError, match=r"teacher old learned from 4 of the 300 validation rows.*validation_share"):
        distill_offline({"old": model}, processed, tmp_path / "others")
    learn(model, range(330, 331))
    with pytest.raises(ModelError, match="teacher old learned from 1 of the 28 test rows"):
        check_unseen({"teacher old": model}, ProcessedTable.open(processed))
    assert not (tmp_path / "others").exists()
