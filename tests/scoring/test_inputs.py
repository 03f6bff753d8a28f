from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline.errors import SourceError
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.scoring import score
from tests.scoring.conftest import WHERE

pytestmark = pytest.mark.usefixtures("spark")


@pytest.mark.parametrize("kind", ["missing", "empty", "no image", "no parquet"])
def test_an_input_without_images_is_an_error(kind: str, tmp_path: Path, model: PortableModel) -> None:
    source = tmp_path / "source"
    if kind != "missing":
        source.mkdir()
    if kind == "no image":
        pq.write_table(pa.table({"pixels": ["1 2 3"]}), source / "x.parquet")
    if kind == "no parquet":
        (source / "x.parquet").write_text("text")
    words = {"missing": "is not there", "empty": "no pictures", "no image": "binary column `image`", "no parquet": "as Parquet"}
    with pytest.raises(SourceError, match=words[kind]):
        score.score(source, tmp_path / "out", model, master=WHERE)
