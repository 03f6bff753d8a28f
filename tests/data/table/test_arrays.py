"""Pictures of a split that lie in a file because memory would not hold them: the same rows, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import DataQualityError, ToolUnavailableError
from fer_pipeline.schemas import PROCESSED
from fer_pipeline.training.batches import Batches


@pytest.fixture
def shuffled(tmp_path: Path, make_processed: Callable[..., Path]) -> Path:
    """A processed table whose rows stand in any order, in two files of many row groups."""
    processed = make_processed(tmp_path / "p", {"train": 3000, "test": 20})
    file = processed / "faces" / "part-0.parquet"
    table = pq.read_table(file)
    table = table.take(np.random.default_rng(0).permutation(table.num_rows))
    pq.write_table(table.slice(0, 1700), file, row_group_size=300)
    pq.write_table(table.slice(1700), processed / "faces" / "part-9.parquet", row_group_size=700)
    return processed


def test_a_split_in_a_file_is_the_split_in_memory(shuffled: Path) -> None:
    held, filed = ProcessedTable.open(shuffled).split("train"), ProcessedTable.open(shuffled).split("train", memory=0)
    assert isinstance(filed.images.base, np.memmap)
    assert not isinstance(held.images.base, np.memmap)
    assert np.array_equal(held.images, filed.images)
    assert held.ids.tolist() == filed.ids.tolist() == sorted(held.ids.tolist())
    assert np.array_equal(held.labels, filed.labels)
    assert held.fingerprint == filed.fingerprint  # so that a killed training goes on, wherever its pictures lie
    params = TrainParams(batch_size=64, mixup_alpha=0.2)
    for one, other in zip(Batches(held, params, 3), Batches(filed, params, 3), strict=True):
        assert np.array_equal(one[0][0], other[0][0])
        assert np.array_equal(one[1]["labels"], other[1]["labels"])


def test_each_picture_stands_in_the_row_of_its_id(shuffled: Path) -> None:
    faces = ProcessedTable.open(shuffled).split("train", memory=0)
    table = pa.concat_tables([pq.read_table(path) for path in sorted((shuffled / "faces").glob("*.parquet"))])
    expected = dict(zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True))
    assert all(image.tobytes() == expected[row_id] for image, row_id in zip(faces.images, faces.ids, strict=True))


def test_scratch_file_is_nameless_and_damage_is_reported(shuffled: Path) -> None:
    """The file has no name and a damaged row is told all the same."""
    before = sorted(shuffled.parent.rglob("*"))
    faces = ProcessedTable.open(shuffled).split("test", memory=0)
    assert sorted(shuffled.parent.rglob("*")) == before
    assert len(faces) == 20
    file = shuffled / "faces" / "part-1.parquet"
    table = pq.read_table(file)
    images = pa.array([*table["image"].to_pylist()[:-1], b"\0" * 7], pa.binary())
    at = table.schema.get_field_index("image")
    pq.write_table(table.set_column(at, PROCESSED.field("image"), images), file)
    with pytest.raises(DataQualityError, match="row 00003019 has a picture of 7 bytes, expected 2304"):
        ProcessedTable.open(shuffled).split("test", memory=0)


def test_a_disk_without_room_is_told_before_anything_is_read(shuffled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _offset: int, _size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(
        ToolUnavailableError, match=r"3,000 pictures exceed the memory and need 0\.0 GB .*No space left on device"
    ):
        ProcessedTable.open(shuffled).split("train", memory=0)


MEASURE = """
import sys, threading, time
from pathlib import Path
from fer_pipeline.data.table.reader import ProcessedTable

def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) // 1024

ProcessedTable.open(Path(sys.argv[1])).split("test")  # libraries and their thread pools are there now
base, peak, over = anonymous(), [0], threading.Event()

def watch():
    while not over.wait(0.005):
        peak[0] = max(peak[0], anonymous())

thread = threading.Thread(target=watch)
thread.start()
faces = ProcessedTable.open(Path(sys.argv[1])).split("train", memory=int(sys.argv[2]))
faces.fingerprint
over.set()
thread.join()
print(peak[0] - base)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account of a process's memory")
def test_memory_does_not_grow_with_the_pictures_in_a_file(tmp_path: Path, make_processed: Callable[..., Path]) -> None:
    rows = 80_000  # 184 MB of pictures
    processed = make_processed(tmp_path / "p", {"train": 7, "test": 7})
    small = pq.read_table(processed / "faces" / "part-0.parquet")
    part = pa.concat_tables([small] * 400)
    with pq.ParquetWriter(processed / "faces" / "part-0.parquet", PROCESSED) as writer:
        for start in range(0, rows, part.num_rows):
            ids = [f"{start + row:08d}" for row in range(part.num_rows)]
            writer.write_table(part.set_column(0, PROCESSED.field("id"), pa.array(ids)).slice(0, rows - start), 1024)

    def megabytes(memory: int) -> int:
        command = [sys.executable, "-c", MEASURE, str(processed), str(memory)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    held, filed = megabytes(10**12), megabytes(0)
    assert held > 180
    assert filed < 90, f"{filed} MB beside the pictures"
