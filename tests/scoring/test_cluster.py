from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cluster import cluster
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.scoring import score
from tests.scoring.conftest import WHERE, processed_table, tables_of

pytestmark = pytest.mark.usefixtures("spark")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_core_and_two_give_equal_tables(pictures: Path, tmp_path: Path, model: PortableModel) -> None:
    score.score(pictures, tmp_path / "two", model, master=WHERE)
    script = (
        "from pathlib import Path; from fer_pipeline.scoring import score\n"
        "from fer_pipeline.inference.model_files import PortableModel\n"
        f"score.score(Path({str(pictures)!r}), Path('one'), PortableModel(files={model.files!r}), master='local[1]')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert tables_of(tmp_path / "one") == tables_of(tmp_path / "two")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_of_two_workers_gives_the_tables_of_local_mode(pictures: Path, tmp_path: Path, brightness_model: Path) -> None:
    processed_table(tmp_path / "processed", 200)
    fer = [str(Path(sys.executable).with_name("fer")), "score", "--model", str(brightness_model)]
    with cluster(tmp_path) as running:
        for name in (pictures.name, "processed"):
            command = [*fer, "--input", name, "--output", f"cluster-{name}", "--spark-master", running.url]
            subprocess.run(command, cwd=tmp_path, check=True, timeout=240)
            score.score(tmp_path / name, tmp_path / f"local-{name}", PortableModel.read(brightness_model), master=WHERE)
            assert tables_of(tmp_path / f"cluster-{name}") == tables_of(tmp_path / f"local-{name}")
    assert len([path for path in (tmp_path / "work").glob("app-*/*") if path.is_dir()]) == 4  # two executors for each of two runs
