from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fer_pipeline.analysis.external.datasets import open_dataset
from fer_pipeline.analysis.external.ferplus import FERPLUS_TITLE, majority
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import (
    FERPLUS_COLUMNS,
)
from tests.analysis.external.samples import GRAY, measured


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ([0, 6, 4, 0, 0, 0, 0, 0, 0, 0], "happy"),  # six of ten
        ([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], "no majority"),  # a tie
        ([0, 1, 1, 4, 1, 1, 1, 1, 0, 0], "sad"),  # single votes do not count
        ([0, 0, 0, 0, 0, 0, 0, 9, 1, 0], "contempt"),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 10], "nf"),
    ],
)
def test_the_majority_of_ferplus_votes(votes: list[int], label: str) -> None:
    assert majority(votes) == label


def write_ferplus(folder: Path, usages: list[str], *, shuffled: bool = False) -> None:
    header = "Usage,Image name," + ",".join(FERPLUS_COLUMNS)
    votes, faces = [header], ["emotion,pixels,Usage"]
    for number, usage in enumerate(usages):
        counts = ["0"] * 10
        counts[1 if number % 2 else 3] = "10"  # happiness, sadness
        votes.append(f"{usage},fer{number:07}.png,{','.join(counts)}")
        gray = GRAY["happy" if number % 2 else "sad"]
        faces.append(f"0,{' '.join([str(gray)] * 2304)},{usage}")
    (folder / "fer2013new.csv").write_text("\n".join(votes))
    with gzip.open(folder / "fer2013.csv.gz", "wt") as stream:
        stream.write("\n".join([faces[0], *reversed(faces[1:])] if shuffled else faces))


def test_ferplus_joins_votes_by_row_and_keeps_training_rows_out(tmp_path: Path) -> None:
    write_ferplus(tmp_path, ["Training"] * 4 + ["PublicTest"] * 3)
    result = measured(tmp_path, "ferplus")
    assert (result.rows, result.data.part, result.accuracy.estimate) == (3, "validation rows", 1.0)
    assert result.data.title == FERPLUS_TITLE  # by which a card tells it from pictures of other collections
    assert result.shared == ("happy", "sad")


def test_ferplus_files_in_another_order_are_refused(tmp_path: Path) -> None:
    write_ferplus(tmp_path, ["Training"] * 2 + ["PublicTest"], shuffled=True)
    with pytest.raises(SourceError, match="line 2 is Training in fer2013new"):
        open_dataset(tmp_path, "ferplus")
