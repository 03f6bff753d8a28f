from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.analysis.label_noise.report import check_votes, write_noise
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import SourceError
from tests.analysis.label_noise.samples import predictions


def test_page_and_table_show_the_suspicious_rows(make_stripes: Callable[..., FaceDataset], tmp_path: Path) -> None:
    """The page shows suspicious images by pair of labels, and the table names all."""
    faces = make_stripes(140, 0)
    wrong = [3, 50, 139]
    noise, check = write_noise(tmp_path / "noise", faces, predictions(faces, wrong))
    assert check is None
    assert np.flatnonzero(noise.suspicious).tolist() == [3, 50]  # the augmented copy is left out
    with (tmp_path / "noise" / "suspicious.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["id"] for row in rows) == ["00000003", "00000050"]
    page = (tmp_path / "noise" / "report.html").read_text()
    assert page.count("data:image/png") == 2
    for words in (f"{rows[0]['given']}, suggested {rows[0]['suggested']}", "Synthetic faces", "no FER+ votes"):
        assert words in page
    figures = json.loads((tmp_path / "noise" / "noise.json").read_text())
    assert figures["suspicious"] == 2
    assert figures["noise_share"] == pytest.approx(noise.share)


def test_votes_tell_whether_suspicions_are_right(make_stripes: Callable[..., FaceDataset], tmp_path: Path) -> None:
    faces = make_stripes(140, 0)
    columns = np.array([4, 5, 6, 1, 3, 2, 0])  # of angry, disgust, ... among the vote columns
    votes = np.zeros((140, 10), np.float32)
    believed = faces.labels.copy()
    believed[3] = (believed[3] + 1) % 7  # the votes name what the model suggests
    believed[7] = (believed[7] + 2) % 7  # a wrong label that the model does not doubt
    votes[np.arange(140), columns[believed]] = 9
    votes[9] = np.nan
    votes[10] = [5, 5, *[0] * 8]  # no majority
    voted = replace(faces, votes=votes)
    noise, check = write_noise(tmp_path / "noise", voted, predictions(voted, [3, 50]))
    assert check is not None
    assert check == check_votes(voted.rows(np.arange(139)), noise)
    assert (check.suspicious.rows, check.suspicious.given, check.suspicious.suggested) == (2, 0.5, 0.5)
    assert check.others.rows == 136
    assert check.others.given == pytest.approx(134 / 136)
    assert 0.5 < check.auc < 1
    assert "votes confirm the given label" in (tmp_path / "noise" / "report.html").read_text()


def test_predictions_for_other_rows_are_refused(make_stripes: Callable[..., FaceDataset], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="belong to other training rows: run `fer label-noise` again"):
        write_noise(tmp_path / "noise", make_stripes(70, 1), predictions(make_stripes(70, 0), []))
