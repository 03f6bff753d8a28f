from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.analysis.external.datasets import open_dataset
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import (
    AFFECTNET_CODES,
    CKPLUS_CODES,
    EMOTIONS,
    JAFFE_CODES,
    RAFDB_CODES,
    common_name,
)
from tests.analysis.external.samples import measured, save


@pytest.mark.parametrize("codes", [CKPLUS_CODES, JAFFE_CODES, RAFDB_CODES, AFFECTNET_CODES])
def test_every_label_map_holds_each_of_the_seven_emotions_once(codes: dict[object, str]) -> None:
    assert sorted(name for name in codes.values() if name in EMOTIONS) == sorted(EMOTIONS)


def test_names_of_other_sets_become_ours_and_foreign_words_stay() -> None:
    assert [common_name(word) for word in ("Happiness", "anger", "neutral", "Contempt")] == [
        "happy",
        "angry",
        "neutral",
        "contempt",
    ]


def test_ck_plus_48_has_no_neutral_and_its_contempt_is_left_out(tmp_path: Path) -> None:
    for folder in ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"):
        for number in range(3):
            save(tmp_path / folder / f"S010_004_0000001{number}.png", common_name(folder))
    result = measured(tmp_path, "ckplus")
    assert (result.data.title, result.rows, result.left_out, result.lacking) == ("CK+48", 18, {"contempt": 3}, ("neutral",))
    assert result.accuracy.estimate == result.macro_f1.estimate == 1.0
    assert set(result.recalls) == set(EMOTIONS) - {"neutral"}


def test_original_ck_plus_gives_last_and_first_image(tmp_path: Path) -> None:
    """Original CK+ gives the last image of a sequence, and the first as neutral."""
    sequence = tmp_path / "extended" / "cohn-kanade-images" / "S005" / "001"
    for number, emotion in enumerate(("neutral", "sad", "disgust"), start=1):
        save(sequence / f"S005_001_0000000{number}.png", emotion)
    save(tmp_path / "extended" / "cohn-kanade-images" / "S005" / "002" / "S005_002_00000001.png", "happy")  # without a label
    label = tmp_path / "Emotion" / "S005" / "001" / "S005_001_00000003_emotion.txt"
    label.parent.mkdir(parents=True)
    label.write_text("   3.0000000e+00\n")
    data = open_dataset(tmp_path, "ckplus")
    assert [(picture.name, picture.label) for picture in data.images] == [
        ("S005_001_00000001.png", "neutral"),
        ("S005_001_00000003.png", "disgust"),
    ]
    assert data.framing == "scene"
    assert measured(tmp_path, "ckplus").accuracy.estimate == 1.0


def test_jaffe_tiffs_are_read_by_the_code_in_their_names(tmp_path: Path) -> None:
    for number, (code, emotion) in enumerate(JAFFE_CODES.items()):
        save(tmp_path / f"KA.{code}{number % 3 + 1}.{30 + number}.tiff", emotion, (256, 256))
    result = measured(tmp_path, "jaffe")
    assert (result.rows, result.accuracy.estimate, result.lacking) == (7, 1.0, ())


def test_a_picture_that_is_not_named_as_in_jaffe_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "holiday.tiff", "happy")
    with pytest.raises(SourceError, match=r"KA\.AN1\.39\.tiff"):
        open_dataset(tmp_path, "jaffe")


def test_raf_db_measures_its_test_rows_and_says_so(tmp_path: Path) -> None:
    lines = []
    for code, emotion in RAFDB_CODES.items():
        for part in ("train", "test"):
            save(tmp_path / "basic" / "Image" / "aligned" / f"{part}_{code:04}_aligned.png", emotion, (100, 100))
            lines.append(f"{part}_{code:04}.png {code}")
    (tmp_path / "basic" / "EmoLabel").mkdir()
    (tmp_path / "basic" / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines))
    result = measured(tmp_path, "rafdb")
    assert (result.rows, result.data.part, result.accuracy.estimate) == (7, "test rows", 1.0)
    assert measured(tmp_path, "rafdb", "all").rows == 14
    with pytest.raises(SourceError, match="no validation rows"):
        open_dataset(tmp_path, "rafdb", "validation")


def test_rafdb_is_read_from_numbered_folders(tmp_path: Path) -> None:
    """As its copies lie: train/1 to test/7."""
    for code, emotion in RAFDB_CODES.items():
        for split in ("train", "test"):
            save(tmp_path / "DATASET" / split / str(code) / "x.png", emotion)
    (tmp_path / "train_labels.csv").write_text("image,label\nx.png,1\n")
    result = measured(tmp_path / "DATASET", "rafdb")
    assert (result.rows, result.data.part, result.accuracy.estimate) == (7, "test rows", 1.0)
    save(tmp_path / "DATASET" / "train" / "stray.png", "happy")
    with pytest.raises(SourceError, match=r"stray.png is in no class folder 1 to 7 of RAF-DB: give the folder of the unpacked"):
        measured(tmp_path / "DATASET", "rafdb")


def test_image_folders_with_and_without_parts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / "parted" / part / "Happiness" / "1.png", "happy")
    save(tmp_path / "plain" / "boredom" / "1.png", "fear")
    save(tmp_path / "plain" / "sad" / "1.png", "sad")
    assert measured(tmp_path / "parted", "imagefolder").data.part == "test rows"
    assert measured(tmp_path / "parted", "imagefolder").rows == 1
    result = measured(tmp_path / "plain", "imagefolder")
    assert (result.data.part, result.left_out, result.rows) == ("all pictures", {"boredom": 1}, 1)


@pytest.mark.parametrize(
    ("layout", "part", "message"),
    [
        ("fer", None, "expected one of ckplus"),  # an unknown layout
        ("jaffe", "test", "without parts"),
        ("rafdb", None, "list_patition_label.txt"),
        ("ferplus", None, "fer2013new.csv"),
        ("imagefolder", None, "labels found: none"),  # an empty folder
        ("imagefolder", "exam", "expected one of test"),
    ],
)
def test_what_is_no_such_set_is_refused_with_what_was_expected(
    tmp_path: Path, layout: str, part: str | None, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        open_dataset(tmp_path, layout, part)
    with pytest.raises(SourceError):
        open_dataset(tmp_path / "missing", "jaffe")
