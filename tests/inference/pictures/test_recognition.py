from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import fer_pipeline
from fer_pipeline.errors import ImageError, ParamsError, ToolUnavailableError
from fer_pipeline.imaging import decode, encode_png
from fer_pipeline.inference.output_schema import SCHEMA_VERSION
from fer_pipeline.inference.pictures.face_table import PICTURE_COLUMNS

UInt8Array = npt.NDArray[np.uint8]


@pytest.fixture
def folder(tmp_path: Path, drawn_face: UInt8Array) -> Path:
    """A face, a picture without one, and a damaged file."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "face.png").write_bytes(encode_png(drawn_face))
    (tmp_path / "photos" / "gray.png").write_bytes(encode_png(np.full((90, 120, 3), 128, np.uint8)))
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no picture")
    return tmp_path / "photos"


def test_a_picture_gives_a_list_of_faces(brightness_model: Path, folder: Path) -> None:
    faces = fer_pipeline.recognize(folder / "face.png", model=brightness_model)
    (face,) = faces
    assert face.box is not None
    assert face.relative_box is not None
    assert face.confidence == max(face.probabilities)
    assert face.relative_box == pytest.approx((face.box.x / 640, face.box.y / 480, face.box.width / 640, face.box.height / 480))
    assert repr(faces) == f"<1 face: {face.emotion} {100 * face.confidence:.0f} %>"
    (values,) = json.loads(json.dumps(faces.as_dicts()))
    assert (values["schema_version"], values["error"]) == (SCHEMA_VERSION, None)
    assert values["picture"] == {"width": 640, "height": 480}
    assert values["faces"] == [face.as_dict()]
    assert values["model"] == {"name": "brightness", "fingerprint": faces.model.fingerprint}


def test_a_folder_gives_all_faces_and_its_errors(brightness_model: Path, folder: Path) -> None:
    faces = fer_pipeline.recognize(str(folder), model=brightness_model)
    assert [(Path(picture.file or "").name, len(picture.faces)) for picture in faces.pictures] == [
        ("bad.jpg", 0),
        ("face.png", 1),
        ("gray.png", 0),
    ]
    assert [picture.error for picture in faces.errors] == [f"{folder / 'bad.jpg'}: {_REASON}"]
    assert repr(faces).startswith("<1 face in 3 pictures, 1 unreadable: ")
    table = faces.to_pandas()
    assert tuple(table.columns) == PICTURE_COLUMNS
    assert table["faces"].isna().tolist() == [True, False, False]
    assert table["error"].notna().tolist() == [True, False, False]
    assert faces.as_dicts()[0]["error"] == {"code": "undecodable_picture", "message": faces.errors[0].error}


def test_a_table_without_pandas_names_it(brightness_model: Path, drawn_face: UInt8Array, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = fer_pipeline.recognize(drawn_face, model=brightness_model)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ToolUnavailableError, match="a table needs pandas"):
        faces.to_pandas()


_REASON = "10 bytes that are no JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF, HEIF picture"


def test_one_picture_that_cannot_be_read_raises(brightness_model: Path, folder: Path) -> None:
    with pytest.raises(ImageError, match=r"bad\.jpg: 10 bytes"):
        fer_pipeline.recognize(folder / "bad.jpg", model=brightness_model)
    with pytest.raises(ImageError, match="nothing is fetched"):
        fer_pipeline.recognize("http://example.org/a.jpg", model=brightness_model)


def test_annotated_copies_are_saved(brightness_model: Path, folder: Path, drawn_face: UInt8Array, tmp_path: Path) -> None:
    one = fer_pipeline.recognize(drawn_face[:, :, ::-1], bgr=True, model=brightness_model)
    for name in ("drawn.png", "drawn.jpg"):
        assert one.save_annotated(tmp_path / name) == [tmp_path / name]
        drawn = decode((tmp_path / name).read_bytes())
        assert drawn.shape == drawn_face.shape
        assert np.abs(drawn.astype(int) - drawn_face).max() > 100
    several = fer_pipeline.recognize(folder, model=brightness_model)
    names = [file.name for file in several.save_annotated(tmp_path / "drawn")]
    assert names == ["face.png.png", "gray.png.png"]
    first, again = ((tmp_path / name).read_bytes() for name in ("drawn.png", "drawn/face.png.png"))
    np.testing.assert_array_equal(decode(again), decode(first))
    with pytest.raises(ParamsError, match="no format of pictures"):
        one.save_annotated(tmp_path / "drawn.xyz")
    twice = fer_pipeline.recognize([folder / "face.png", folder / "face.png"], model=brightness_model)
    with pytest.raises(ParamsError, match="would both be drawn"):
        twice.save_annotated(tmp_path / "twice")


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, fer_pipeline; before = set(sys.modules) & {'cv2', 'numpy', 'onnxruntime', 'PIL'};"
        "assert not before, before; assert 'recognize' in dir(fer_pipeline);"
        "from fer_pipeline import Recognizer, recognize; assert 'onnxruntime' in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'recogniser'"):
        fer_pipeline.recogniser  # type: ignore[attr-defined]  # noqa: B018
