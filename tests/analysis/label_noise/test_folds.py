from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.analysis.label_noise.folds import grouped_folds, join_groups, read_groups
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import DataQualityError


def test_rows_that_share_any_value_are_one_group() -> None:
    """Rows that share any value are one group, also by way of others."""
    groups = join_groups([np.array(["a", "a", "b", "c", "d"]), np.array([1, 2, 2, 3, 4])])
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_folds_keep_groups_whole_and_spread_the_classes(processed: Path) -> None:
    groups, copies = read_groups(ProcessedTable.open(processed), "train")
    assert copies == {"00000083"}
    assert len({groups[f"{row:08d}"] for row in range(10)}) == 1
    assert groups["00000082"] == groups["00000083"]
    labels = ProcessedTable.open(processed).split("train").labels
    numbers = np.array(list(groups.values()))
    folds = grouped_folds(labels, numbers, 3, seed=0)
    assert all(len(set(folds[numbers == number].tolist())) == 1 for number in numbers)
    assert np.bincount(folds).min() > 20
    assert not np.array_equal(folds, grouped_folds(labels, numbers, 3, seed=1))
    with pytest.raises(DataQualityError, match="2 groups of duplicates, too few for 3 folds"):
        grouped_folds(labels[:4], np.array([0, 0, 1, 1]), 3, seed=0)
