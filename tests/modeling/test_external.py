from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_pipeline.analysis.external.datasets import open_dataset
from fer_pipeline.analysis.external.ferplus import FERPLUS_TITLE, majority
from fer_pipeline.analysis.external.measure import ExternalResult, measure_dataset
from fer_pipeline.analysis.external.report import write_external
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import ImageSpec, crop
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.labels import (
    AFFECTNET_CODES,
    CKPLUS_CODES,
    EMOTIONS,
    FERPLUS_COLUMNS,
    JAFFE_CODES,
    RAFDB_CODES,
    common_name,
)
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.model_info import ModelInfo

GRAY = {name: 20 + 35 * index for index, name in enumerate(EMOTIONS)} | {"contempt": 128}


def by_brightness(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Probabilities that are highest for the class whose gray value in `GRAY` is nearest."""
    distance = np.abs(inputs.mean(axis=(1, 2, 3))[:, None] - (20 + 35 * np.arange(7)))
    powers = np.exp(-distance / 5)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def save(path: Path, emotion: str, size: tuple[int, int] = (48, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, GRAY[emotion]).save(path)


def measured(path: Path, layout: str, part: str | None = None) -> ExternalResult:
    return measure_dataset(open_dataset(path, layout, part), by_brightness, ImageSpec(), resamples=50)


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


def test_an_answer_of_a_class_that_the_set_lacks_is_wrong_unless_choice_is_restricted(tmp_path: Path) -> None:
    save(tmp_path / "happy" / "1.png", "happy")
    save(tmp_path / "surprise" / "1.png", "surprise")
    save(tmp_path / "surprise" / "2.png", "neutral")  # neutral is answered, which this set lacks; surprise is the next nearest
    result = measured(tmp_path, "ckplus")
    assert result.accuracy.estimate == pytest.approx(2 / 3)
    assert result.restricted_accuracy.estimate == 1.0
    assert result.macro_f1.estimate == pytest.approx((1 + 2 / 3) / 2)  # over happy and surprise alone


def test_original_ck_plus_gives_the_last_picture_and_the_first_as_neutral(tmp_path: Path) -> None:
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


def test_affect_net_in_numbered_folders(tmp_path: Path) -> None:
    for code in range(8):
        for part in ("train_set", "val_set"):
            save(tmp_path / part / str(code) / "1.jpg", AFFECTNET_CODES[code], (96, 96))
    result = measured(tmp_path, "affectnet")
    assert (result.rows, result.data.part, result.left_out) == (7, "validation rows", {"contempt": 1})
    assert result.accuracy.estimate == 1.0


def annotate(picture: Path, value: object, emotion: str = "happy") -> Path:
    """Stores a picture and its annotations in AffectNet's original layout; without a value its class is missing."""
    save(picture, emotion, (224, 224))
    folder = picture.parents[1] / "annotations"
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{picture.stem}_aro.npy", np.array("0.25"))
    if value is not None:
        np.save(folder / f"{picture.stem}_exp.npy", np.array(value))
    return folder / f"{picture.stem}_exp.npy"


@pytest.mark.parametrize("kind", [str, int, float])
def test_affect_net_with_annotation_files_beside_its_pictures(tmp_path: Path, kind: type) -> None:
    for code in range(8):
        for part in ("train_set", "val_set"):
            annotate(tmp_path / "AffectNet" / part / "images" / f"{code}.jpg", kind(code), AFFECTNET_CODES[code])
    result = measured(tmp_path, "affectnet")
    assert (result.rows, result.data.part, result.left_out) == (7, "validation rows", {"contempt": 1})
    assert result.accuracy.estimate == 1.0
    assert measured(tmp_path, "affectnet", "all").rows == 14
    assert measured(tmp_path / "AffectNet" / "train_set", "affectnet", "train").rows == 7
    with pytest.raises(SourceError, match=r"no test rows; parts found: \['train_set', 'val_set'\]"):
        open_dataset(tmp_path, "affectnet", "test")


def damaged_annotations(tmp_path: Path) -> dict[str, bytes]:
    """Contents of files that hold no class number, by what is wrong with them."""
    values = {"word": np.array("happy"), "several": np.array(["1", "2"]), "half": np.array(1.5), "none": np.array(float("nan"))}
    for name, value in values.items():
        np.save(tmp_path / f"{name}.npy", value)
    np.save(tmp_path / "pickled.npy", np.array({"class": 1}, dtype=object), allow_pickle=True)
    np.savez(tmp_path / "zipped.npz", np.array("1"))
    contents = {file.stem: file.read_bytes() for file in tmp_path.glob("*.np[yz]")}
    whole = contents["word"]
    shape = whole.replace(b"'shape': (), ", b"'shape': (9**9,)")  # no literal
    contents |= {
        "cut": whole[:-4],
        "cut in its header": whole[:40],
        "no literal": shape,
        "no character": whole[:-4] + b"\xff" * 4,
    }
    return contents | {"empty": b"", "text": b"1\n"}


def test_affect_net_pictures_without_a_usable_annotation_are_counted_and_in_no_figure(tmp_path: Path) -> None:
    damaged = damaged_annotations(tmp_path)
    images = tmp_path / "affectnet" / "val_set" / "images"
    for number, code in enumerate(("1", 1, "42", -1, "9", None)):
        annotate(images / f"{number}.jpg", code)
    for name, content in damaged.items():
        annotate(images / f"{name}.jpg", "1").write_bytes(content)
    annotate(images / "torn.jpg", "1")
    (images / "torn.jpg").write_bytes(b"\xff\xd8")
    save(tmp_path / "affectnet" / "train_set" / "images" / "1.jpg", "sad")  # its annotations were not unpacked
    result = measured(tmp_path / "affectnet", "affectnet")
    assert (result.rows, result.accuracy.estimate, result.unreadable) == (2, 1.0, ("val_set/images/torn.jpg",))
    counts = {"unreadable annotation": len(damaged), "unknown class": 2, "uncertain": 1, "no annotation": 1}
    assert result.left_out == counts
    assert measured(tmp_path / "affectnet", "affectnet", "all").left_out == counts | {"no annotation": 2}


def test_affect_net_without_any_usable_annotation_says_so(tmp_path: Path) -> None:
    annotate(tmp_path / "val_set" / "images" / "1.jpg", None)
    with pytest.raises(SourceError, match=r"labels found: \['no annotation'\]"):
        open_dataset(tmp_path, "affectnet")


def test_affect_net_pictures_in_neither_layout_are_refused_with_what_is_expected(tmp_path: Path) -> None:
    save(tmp_path / "val_set" / "images" / "1.jpg", "sad")
    with pytest.raises(SourceError, match=r"no class folder 0 to 7 .* no folder `annotations` beside `images`"):
        open_dataset(tmp_path, "affectnet")


def test_affect_net_as_csv_cuts_the_given_face(tmp_path: Path) -> None:
    picture = np.full((60, 80), GRAY["angry"], np.uint8)
    picture[10:40, 20:50] = GRAY["happy"]
    (tmp_path / "Manually_Annotated_Images" / "689").mkdir(parents=True)
    Image.fromarray(picture).save(tmp_path / "Manually_Annotated_Images" / "689" / "a.png")
    (tmp_path / "validation.csv").write_text(
        "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
        "689/a.png,20,10,30,30,x,1,0.1,0.1\n"
        "689/a.png,20,10,30,30,x,10,-2,-2\n"
        "689/missing.png,20,10,30,30,x,1,0.1,0.1\n"
    )
    result = measured(tmp_path, "affectnet")
    assert (result.rows, result.accuracy.estimate) == (1, 1.0)
    assert result.left_out == {"no face": 1}
    assert result.unreadable == ("689/missing.png",)


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


def test_pictures_that_cannot_be_read_or_show_no_face_are_named_and_in_no_figure(
    tmp_path: Path, drawn_face: npt.NDArray[np.uint8]
) -> None:
    (tmp_path / "happy").mkdir()
    Image.fromarray(drawn_face).save(tmp_path / "happy" / "face.png")
    Image.new("L", (300, 300), 90).save(tmp_path / "happy" / "wall.png")
    (tmp_path / "happy" / "torn.png").write_bytes(b"\x89PNG")
    seen = []

    def answer(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        seen.append(inputs)
        return by_brightness(inputs)

    def largest(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
        found = HaarDetector().detect(image)
        return crop(image, found[0].framing_xyxy) if found else None

    data = open_dataset(tmp_path, "imagefolder")
    result = measure_dataset(data, answer, ImageSpec(), find_face=largest, detector="haar", resamples=10)
    assert (result.unreadable, result.without_face, result.rows) == (("happy/torn.png",), ("happy/wall.png",), 1)
    assert seen[0].shape == (1, 48, 48, 1)


def test_an_interval_has_width_even_where_all_or_none_are_right() -> None:
    assert share_interval(0, 56).low == 0.0
    assert share_interval(0, 56).high == pytest.approx(0.0642, abs=0.0002)  # z^2 / (n + z^2)
    half = share_interval(50, 100)
    assert (half.low, half.high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))  # known table value


def test_a_set_without_any_picture_to_measure_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(SourceError, match="1 are unreadable"):
        measured(tmp_path, "imagefolder")


def test_json_and_page_say_what_was_left_out(tmp_path: Path, brightness_model: Path) -> None:
    for folder in ("contempt", "happy", "surprise"):
        save(tmp_path / "set" / folder / "1.png", folder)
    info = ModelInfo.read(brightness_model)
    values = write_external(tmp_path / "out", measured(tmp_path / "set", "ckplus"), info)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == values
    assert values["accuracy"] == {"estimate": 1.0, "low": pytest.approx(0.342, abs=0.001), "high": 1.0}  # Wilson, 2 of 2
    assert (values["rows"], values["left_out"], values["model"]) == (2, {"contempt": 1}, info.fingerprint)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "contempt (1 pictures)" in page
    assert "They are in no average" in page
    assert "angry, disgust, fear, sad, neutral" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_command_measures_an_exported_model(tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    for code, emotion in JAFFE_CODES.items():
        save(tmp_path / "jaffe" / f"KA.{code}1.1.tiff", emotion)
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate-dataset", "jaffe", "--labels", "jaffe", "--model", str(brightness_model), "--faces", "crop"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "accuracy 1.0000" in done.output
    assert (tmp_path / "data" / "reports" / "external" / "jaffe" / "report.html").is_file()


def test_the_command_finds_the_face_in_pictures_of_whole_scenes(
    tmp_path: Path, brightness_model: Path, drawn_face: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    (tmp_path / "jaffe").mkdir()
    Image.fromarray(drawn_face).save(tmp_path / "jaffe" / "KA.HA1.1.tiff")
    Image.new("L", (256, 256), 100).save(tmp_path / "jaffe" / "KA.SA1.2.tiff")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["evaluate-dataset", "jaffe", "--labels", "jaffe", "--model", str(brightness_model), "--out", "out"]
    )
    assert done.exit_code == 0, done.output
    assert "1 pictures that have no face that was found" in done.output
    values = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (values["detector"], values["rows"], values["rows_without_face"]) == ("haar", 1, 1)
