from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_pipeline.analysis.external.datasets import open_dataset
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import (
    AFFECTNET_CODES,
)
from tests.analysis.external.samples import GRAY, measured, save


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


def test_images_without_usable_annotation_are_counted(tmp_path: Path) -> None:
    """AffectNet images without a usable annotation are counted, and are in no figure."""
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


def test_images_in_neither_layout_are_refused(tmp_path: Path) -> None:
    """AffectNet images in neither layout are refused with what is expected."""
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
