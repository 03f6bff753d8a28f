from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_pipeline.data.storage import storage_location
from fer_pipeline.errors import FerError
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.scoring import score
from fer_pipeline.scoring.outputs import claim
from fer_pipeline.workspace.files import write_json
from tests.scoring.conftest import WHERE, tables_of

pytestmark = pytest.mark.usefixtures("spark")


def test_an_output_of_another_run_is_left_alone(
    pictures: Path, tmp_path: Path, model: PortableModel, brightness_model: Path
) -> None:
    out = tmp_path / "out"
    score.score(pictures, out, model, master=WHERE)
    before = tables_of(out)
    with pytest.raises(FerError, match=r"threshold 0\.4 instead of 0\.9"):
        score.score(pictures, out, model, master=WHERE, threshold=0.9)
    assert tables_of(out) == before
    with pytest.raises(FerError, match="holds other files"):
        score.score(pictures, shutil.copytree(brightness_model, tmp_path / "used"), model, master=WHERE)


def test_scores_of_an_earlier_layout_are_refused(tmp_path: Path) -> None:
    """Scores of an earlier layout are refused since readers would count them twice."""
    run = {"input": "photos", "model": "abc"}
    write_json(tmp_path / "old" / "run.json", run)
    with pytest.raises(FerError, match=r"layout None instead of 3.*give another --output"):
        claim(storage_location(tmp_path / "old"), run)
    claim(storage_location(tmp_path / "new"), run)
    claim(storage_location(tmp_path / "new"), run)
