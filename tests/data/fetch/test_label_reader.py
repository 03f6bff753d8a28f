"""What numbers and contempt mean as labels of a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.errors import SourceError
from fer_pipeline.labels import EMOTIONS, NUMBERINGS
from tests.data.fetch.packing import PIXELS, Fetched, tree, zipped


@pytest.mark.parametrize("numbering", NUMBERINGS)
def test_numbered_folders_mean_what_the_data_set_says(numbering: str, tmp_path: Path, fetched: Fetched) -> None:
    codes = {number: name for number, name in NUMBERINGS[numbering].items() if name in EMOTIONS}
    source = tree(tmp_path / "faces", *(f"train/{number}/x.jpg" for number in codes))
    metadata, rows = fetched(source, numbering=numbering)
    meant = {row["name"].split("/")[1]: row["emotion"] for row in rows}
    if numbering == "fer2013":
        assert meant == {str(number): str(number) for number in range(7)}
    else:
        assert meant == {str(number): name for number, name in codes.items() if EMOTIONS.index(name) != number} | {
            str(number): str(number) for number, name in codes.items() if EMOTIONS.index(name) == number
        }
    assert metadata.labels.startswith(f"numbers of {numbering} (fetch.numbering): ")


def test_a_numbering_may_be_spelled_out(tmp_path: Path, fetched: Fetched) -> None:
    source = zipped(tmp_path / "faces.zip", {f"{name}/x.jpg": b"x" for name in ("0", "1", "happy")})
    metadata, rows = fetched(source, numbering="surprise,fear")
    assert [row["emotion"] for row in rows] == ["surprise", "fear", "happy"]
    assert metadata.labels == "numbers of surprise,fear (fetch.numbering): 0 surprise, 1 fear"


def test_a_number_that_the_numbering_lacks_is_refused(tmp_path: Path, fetched: Fetched) -> None:
    source = tree(tmp_path / "faces", "0/x.jpg", "1/x.jpg")
    words = r"folder '0' is no class of fetch.numbering rafdb, which has 1, 2, .* fer2013 \(angry disgust\)"
    with pytest.raises(SourceError, match=words):
        fetched(source, numbering="rafdb")


def test_names_need_no_numbering(tmp_path: Path, fetched: Fetched) -> None:
    assert fetched(tree(tmp_path / "faces", "happy/x.jpg"))[0].labels == "names"


@pytest.mark.parametrize(("contempt", "kept"), [("drop", ["sad"]), ("disgust", ["disgust", "disgust", "sad"])])
@pytest.mark.parametrize("form", ["names", "numbers", "table"])
def test_contempt_is_left_out_or_mapped(contempt: str, kept: list[str], form: str, tmp_path: Path, fetched: Fetched) -> None:
    numbering = "ask"
    if form == "names":
        source = tree(tmp_path / "faces", "Contempt/1.jpg", "Contempt/2.jpg", "sad/1.jpg")
    elif form == "numbers":
        source, numbering = tree(tmp_path / "faces", "7/1.jpg", "7/2.jpg", "2/1.jpg"), "affectnet"
    else:
        source = tmp_path / "fer2013.csv"
        source.write_text("emotion,pixels,Usage\n" + "".join(f"{label},{PIXELS},Training\n" for label in ("contempt", "7", "2")))
        numbering = "affectnet"
    metadata, rows = fetched(source, numbering=numbering, contempt=contempt)
    assert sorted(row["emotion"] for row in rows) == kept
    assert metadata.notes[0].startswith(f"2 pictures of contempt, {'left out' if contempt == 'drop' else 'taken as disgust'}: ")


def test_contempt_in_a_table_is_refused_by_default(tmp_path: Path, fetched: Fetched) -> None:
    (tmp_path / "x.csv").write_text(f"emotion,pixels,Usage\n2,{PIXELS},Training\ncontempt,{PIXELS},Training\n")
    with pytest.raises(SourceError, match=r"x.csv:3, label 'contempt', is contempt.*fetch.contempt in params.yaml, to drop"):
        fetched(tmp_path / "x.csv")


def test_classes_without_emotion_are_left_out_and_counted(tmp_path: Path, fetched: Fetched) -> None:
    source = tree(tmp_path / "faces", "0/1.jpg", "8/1.jpg", "10/1.jpg", "10/2.jpg")
    metadata, rows = fetched(source, numbering="affectnet")
    assert [row["emotion"] for row in rows] == ["neutral"]
    assert metadata.notes == (
        "2 pictures without an emotion (no face), left out: 10/1.jpg, 10/2.jpg",
        "1 pictures without an emotion (none), left out: 8/1.jpg",
    )


def test_nothing_but_contempt_is_no_source(tmp_path: Path, fetched: Fetched) -> None:
    with pytest.raises(SourceError, match="nothing remains"):
        fetched(tree(tmp_path / "faces", "contempt/1.jpg"), contempt="drop")


def test_the_numbers_of_fer2013_are_inferred_and_said(tmp_path: Path, fetched: Fetched) -> None:
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{PIXELS},Training\n6.0,{PIXELS},Training\n")
    metadata, rows = fetched(tmp_path / "fer2013.csv")
    assert [row["emotion"] for row in rows] == ["3", "6.0"]
    assert metadata.labels == "numbers of fer2013 (inferred from its columns): 3 happy, 6 neutral"


def test_a_table_with_many_sevens_is_not_that_of_fer2013(tmp_path: Path, fetched: Fetched) -> None:
    (tmp_path / "x.csv").write_text("emotion,pixels,Usage\n" + f"3,{PIXELS},Training\n" * 99 + f"7,{PIXELS},Training\n" * 2)
    words = "label 7 in 2 of 101 rows, so it is not FER-2013's own.* affectnet .*7 for contempt are angry,disgust,.*,contempt"
    with pytest.raises(SourceError, match=words):
        fetched(tmp_path / "x.csv")
    metadata, rows = fetched(tmp_path / "x.csv", numbering=",".join((*EMOTIONS, "contempt")), contempt="drop")
    assert len(rows) == 99
    assert "2 pictures of contempt" in metadata.notes[0]


def test_one_seven_among_many_rows_is_a_bad_row(tmp_path: Path, fetched: Fetched) -> None:
    (tmp_path / "x.csv").write_text("emotion,pixels,Usage\n" + f"3,{PIXELS},Training\n" * 99 + f"7,{PIXELS},Training\n")
    assert fetched(tmp_path / "x.csv")[1][-1]["emotion"] == "7"


def test_a_number_of_no_class_in_a_table_stays_a_bad_row(tmp_path: Path, fetched: Fetched) -> None:
    """0 is no class of RAF-DB: as FER-2013's 0 it would be learned as angry."""
    (tmp_path / "x.csv").write_text(f"emotion,pixels,Usage\n0,{PIXELS},Training\n1,{PIXELS},Training\n")
    assert [row["emotion"] for row in fetched(tmp_path / "x.csv", numbering="rafdb")[1]] == ["0 (no class of rafdb)", "surprise"]
