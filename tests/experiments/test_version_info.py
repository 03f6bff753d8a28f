"""Registered versions: found, described and compared by their records."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.experiments import registry, runs
from fer_pipeline.experiments.version_info import differences, version_metadata
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion import champion


def version(number: int) -> registry.Version:
    return registry.find("fer", str(number))


def register(root: Path, export: Path, figures: dict[str, float], recipe: dict[str, float | str]) -> registry.Version:
    """One more version, with a training run of its own."""
    shutil.copytree(export, root / "more")
    info = replace(ModelInfo.read(export), temperature=9.0, metrics=figures, lineage={"data_version": "d2"})
    info.write(root / "more")
    run_id = runs.open_training_run(root / "memo", "tiny", {"train": recipe}, {"network": "brightness"})
    runs.close_training_run(root / "memo", run_id, [])
    return registry.register(root / "more", info, "fer", run_id, {})[0]


def test_a_version_is_found_by_number_and_by_alias(registered: Path) -> None:
    assert [registry.find("fer", word).number for word in ("2", "v2", "challenger")] == [2, 2, 3]
    with pytest.raises(ModelError, match=r"no version or alias 'champion' \(there is: 1, 2, 3, challenger\)"):
        registry.find("fer", "champion")
    with pytest.raises(ModelError, match="none yet: run `fer run`"):
        registry.find("other", "1")


def test_a_version_is_found_by_the_run_that_status_prints(registered: Path, brightness_model: Path) -> None:
    known = registry.versions("fer")
    for one in known:
        others = [other for other in known if other.run_id.startswith(one.run_id[:8])]
        assert others == [one]
        assert registry.find("fer", one.run_id[:8]) == registry.find("fer", one.run_id) == one
    with pytest.raises(ModelError, match=r"no version or alias '0{8}', nor one of a run whose id begins so \(there is: 1, 2, 3"):
        registry.find("fer", "0" * 8)
    with pytest.raises(ModelError, match=rf"no version or alias '{known[0].run_id[:5]}' \("):
        registry.find("fer", known[0].run_id[:5])
    again = replace(ModelInfo.read(brightness_model), temperature=9.0)
    shutil.copytree(brightness_model, registered / "again")
    again.write(registered / "again")
    registry.register(registered / "again", again, "fer", known[0].run_id, {})  # the same weights, calibrated anew
    with pytest.raises(
        ModelError, match=rf"'{known[0].run_id}' is not one version .* but 1 of run .*, 4 of run .*: give the number"
    ):
        registry.find("fer", known[0].run_id)


def test_a_version_says_where_it_comes_from_and_what_it_can(registered: Path, brightness_model: Path) -> None:
    added = register(registered, brightness_model, {"accuracy": 0.75, "ece": 0.02}, {"lr": 0.1, "optimizer": "sgd"})
    champion.set_champion(registered, added, None)
    metadata = version_metadata(registry.find("fer", "champion"))
    assert (metadata.number, metadata.aliases, metadata.network) == (4, ("challenger", "champion"), "brightness")
    assert metadata.params == {"train.lr": "0.1", "train.optimizer": "sgd"}
    assert metadata.lineage["data_version"] == "d2"
    assert metadata.lineage["git_commit"] == "none"
    assert metadata.metrics == {"accuracy": 0.75, "ece": 0.02}
    assert metadata.promoted_at is not None


def test_two_versions_differ_in_what_differs_alone(registered: Path, brightness_model: Path) -> None:
    added = register(registered, brightness_model, {"accuracy": 0.75, "ece": 0.02}, {"lr": 0.1, "flip": "True"})
    found = differences(version_metadata(version(1)), version_metadata(added))
    assert {change.key for change in found.lineage} == {"run_id", "data_version", "temperature", "fingerprint"}
    figures = {change.key: (change.a, change.b, change.delta) for change in found.metrics}
    assert figures == {"accuracy": (0.5, 0.75, 0.25), "ece": (None, 0.02, None)}
    recipe = {change.key: (change.b, change.delta) for change in found.params}
    assert recipe == {"train.lr": (0.1, None), "train.flip": ("True", None)}
    assert not differences(version_metadata(added), version_metadata(added)).params
