"""Files of old systems have names that are not UTF-8."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from typer.testing import CliRunner

from fer_pipeline.cli.app import app


def test_a_folder_with_names_that_are_not_utf8_is_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "faces" / "happy"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "plain.png"), np.full((48, 48), 90, np.uint8))
    for name in (b"caf\xe9.png", b"caf\xe9.txt"):
        shutil.copy(folder / "plain.png", os.fsencode(folder) + b"/" + name)
    result = CliRunner().invoke(app, ["fetch", "--source", str(tmp_path / "faces"), "--out", str(tmp_path / "raw")])
    assert result.exit_code == 0, result.output
    rows = sum(pq.ParquetFile(file).metadata.num_rows for file in (tmp_path / "raw").rglob("*.parquet"))
    assert rows == 2
