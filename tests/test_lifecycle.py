from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline import lifecycle, params, records
from fer_pipeline.errors import ModelError, ParamsError, SourceError
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.modeling import registry, tracking
from fer_pipeline.serving import packaging
from fer_pipeline.stages import HASHES_FILE, use_data


@pytest.fixture
def root(tmp_path: Path, tracking_store: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with three registered versions of one name, none of them champion; building a bundle only notes its name."""
    shutil.copy2(Path(__file__).parents[1] / "params.yaml", tmp_path)
    for number in (1, 2, 3):
        export = tmp_path / f"export{number}"
        shutil.copytree(brightness_model, export)
        info = replace(ModelInfo.read(export), temperature=float(number))
        info.write(export)
        registry.register(export, info, "fer", tracking.ensure_run(None, "tiny", {}), {})
    monkeypatch.setattr(packaging, "build", lambda _folder, version, _root: f"fer:{version}-c0de00")
    monkeypatch.setattr(packaging, "is_packaged", lambda _tag: True)
    return tmp_path


def crown(root: Path, *numbers: int) -> None:
    for number in numbers:
        lifecycle.crown(root, lifecycle.challenger(root, number))


def test_rolling_back_makes_the_champion_before_champion_again(root: Path) -> None:
    crown(root, 1, 2, 3)
    version, bundle = lifecycle.roll_back(root, None)
    assert version.number == 2
    assert bundle.startswith("fer:v2-")
    assert lifecycle.champion(root).number == 2
    assert ModelInfo.read(packaging.bundle_folder(root)).temperature == 2.0  # data/bundle follows the champion


def test_rolling_back_twice_goes_back_two_steps(root: Path) -> None:
    crown(root, 1, 2, 3)
    lifecycle.roll_back(root, None)
    lifecycle.roll_back(root, None)
    assert lifecycle.champion(root).number == 1
    with pytest.raises(ModelError, match="an earlier champion is not there"):
        lifecycle.roll_back(root, None)


def test_crowning_the_champion_again_does_not_make_it_younger(root: Path) -> None:
    crown(root, 2)
    since = lifecycle.champion(root).tags["crowned"]
    crown(root, 2)
    assert lifecycle.champion(root).tags["crowned"] == since


def test_a_version_can_be_named_also_one_that_was_rolled_back(root: Path) -> None:
    crown(root, 1, 3)
    lifecycle.roll_back(root, 1)
    lifecycle.roll_back(root, 3)
    assert lifecycle.champion(root).number == 3
    assert "rolled_back" not in lifecycle.champion(root).tags


def test_the_gate_does_not_promote_again_what_was_rolled_back(root: Path) -> None:
    crown(root, 1, 3)
    lifecycle.roll_back(root, None)
    decision = lifecycle.judge(root, lifecycle.challenger(root, 3))
    assert not decision.promoted
    assert "fer rollback --to 3" in decision.markdown()


def test_the_champion_stays_without_a_contest_against_itself(root: Path) -> None:
    crown(root, 2)
    assert lifecycle.judge(root, lifecycle.challenger(root, 2)).promoted


@pytest.mark.parametrize("number", [9, 2])
def test_a_version_that_is_not_there_or_reigns_is_refused(root: Path, number: int) -> None:
    crown(root, 1, 2)
    with pytest.raises(ModelError, match="other versions are 1, 3"):
        lifecycle.roll_back(root, number)
    assert lifecycle.champion(root).number == 2


def test_without_a_champion_there_is_nothing_to_roll_back_or_package(root: Path) -> None:
    with pytest.raises(ModelError, match="no champion yet"):
        lifecycle.roll_back(root, None)


def test_the_challenger_is_the_newest_version_unless_one_is_named(root: Path) -> None:
    assert lifecycle.challenger(root, None).number == 3
    assert lifecycle.challenger(root, 1).number == 1
    with pytest.raises(ModelError, match=r"no version 7 \(versions: 1, 2, 3\)"):
        lifecycle.challenger(root, 7)


def test_the_bundle_of_then_is_served_again_without_a_build(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lifecycle.package_version(root, lifecycle.challenger(root, 1))
    crown(root, 1, 2)
    monkeypatch.setattr(packaging, "build", lambda *_: pytest.fail("nothing is to be built"))
    assert lifecycle.roll_back(root, None)[1] == first


def test_votes_and_synthetic_faces_do_not_go_together(root: Path) -> None:
    with pytest.raises(ParamsError, match="leave them out"):
        use_data(root, Path("synthetic"), Path("votes.csv"))


def test_a_source_that_cannot_be_read_does_not_become_the_source(root: Path) -> None:
    before = (root / "params.yaml").read_text()
    (root / "empty.csv").touch()
    with pytest.raises(SourceError, match="empty"):
        use_data(root, root / "empty.csv", None)
    assert (root / "params.yaml").read_text() == before
    assert not (root / "data" / "source").exists()


def facts(synthetic: bool = False, contrast: str = "none") -> str:
    return json.dumps(
        {"image_spec": {**asdict(ImageSpec()), "contrast": contrast}, "source": {"synthetic": synthetic, "name": "levels"}}
    )


@pytest.fixture
def processed(root: Path) -> Path:
    """A processed table: 70 test faces, each of one gray level that the brightness model knows."""
    shutil.copy2(Path(__file__).parents[1] / "dvc.yaml", root)
    rows = []
    for row in range(70):
        image = np.full(2304, 20 + 35 * (row % 7), np.uint8).tobytes()
        flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
        words = {"id": f"{row:08d}", "name": f"n{row}", "usage": "test", "split": "test", "perceptual_hash": "0", "votes": None}
        numbers = {"row": row, "label": row % 7, "copies": 1, "copy_rank": 0, "brightness": 0.0, "contrast": 0.0}
        rows.append({**flags, **words, **numbers, "image": image, "content_hash": f"{row:032x}"})
    folder = root / "data" / "processed"
    (folder / "faces").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=records.PROCESSED), folder / "faces" / "part-00000.parquet")
    (folder / "facts.json").write_text(facts())
    params.write_values(root / "params.yaml", {"promote.max_ece": 1.0})
    return folder


def test_the_gate_leaves_out_rows_that_a_contestant_was_trained_on(root: Path, processed: Path) -> None:
    version = lifecycle.challenger(root, 3)
    tracking.log_lines(version.run_id, "training", HASHES_FILE, [f"{row:032x}" for row in range(20)])
    decision = lifecycle.judge(root, version)
    assert decision.promoted
    assert decision.rows == 50


def test_no_model_is_judged_on_pictures_prepared_otherwise(root: Path, processed: Path) -> None:
    (processed / "facts.json").write_text(facts(contrast="clahe"))
    with pytest.raises(ModelError, match="was prepared otherwise"):
        lifecycle.judge(root, lifecycle.challenger(root, 3))


def test_no_model_of_real_pictures_is_judged_on_synthetic_faces(root: Path, processed: Path) -> None:
    (processed / "facts.json").write_text(facts(synthetic=True))
    with pytest.raises(ModelError, match="real pictures"):
        lifecycle.judge(root, lifecycle.challenger(root, 3))
