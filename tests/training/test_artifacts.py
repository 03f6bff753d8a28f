"""Reading what earlier versions stored of a training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import ModelError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.training.artifacts import read_training

ROOT = Path(__file__).parents[2]
STORED = [*ROOT.glob("fer_pipeline/weights/*/training.json"), *ROOT.glob("benchmarks/attempts/*/training.json")]


@pytest.mark.parametrize("file", STORED, ids=lambda file: file.parent.name)
def test_recipes_of_earlier_versions_have_the_keys_of_today(file: Path) -> None:
    """The pretrained models and the trainings in benchmarks were stored before keys were renamed."""
    read = read_training(file.parent)["params"]
    stored = json.loads(file.read_text())["params"]
    assert not TrainParams.renamed.keys() & read.keys()
    assert [read[TrainParams.renamed.get(key, key)] for key in stored] == list(stored.values())
    assert TrainParams.from_stored(stored) == TrainParams.model_validate(read)


def test_a_training_of_other_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"labels": [*EMOTIONS][:6], "params": {}}))
    with pytest.raises(ModelError, match=r"this code expects .* train again"):
        read_training(tmp_path)
