from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.imaging import crop, crop_rotated, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.inference.face_emotion import UNCERTAIN
from fer_pipeline.inference.quality import NOSE_LENGTH
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

UInt8Array = npt.NDArray[np.uint8]


REST = ((90.0, 60.0), (80.0, 70.0), (100.0, 70.0))  # nose and mouth, where a test is about the eyes


class Boxes:
    """A detector that returns what it was made with."""

    name = "boxes"

    def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
        self._faces = [FaceBox(box, box, 0.75) for box in boxes]

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        return self._faces


def halves() -> UInt8Array:
    """RGB (100, 200): left half as bright as class 0, right half as class 3."""
    image = np.full((100, 200, 3), 20, np.uint8)
    image[:, 100:] = 125
    return image


def test_each_box_gets_the_answer_of_its_own_part(brightness_model: Path) -> None:
    recognizer = Recognizer.load(brightness_model, Boxes((110, 10, 190, 90), (10, 10, 90, 90)))
    right, left = recognizer.recognize(halves())
    assert (right.emotion, left.emotion) == ("happy", "angry")
    assert right.box_xyxy == (110, 10, 190, 90)
    assert right.detection_score == 0.75
    assert sum(right.probabilities) == pytest.approx(1)


def test_all_faces_go_through_the_network_in_one_call(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = EmotionClassifier.logits
    monkeypatch.setattr(EmotionClassifier, "logits", lambda self, x: (sizes.append(len(x)), real(self, x))[1])
    Recognizer.load(brightness_model, Boxes(*[(10, 10, 60, 60)] * 5)).recognize(halves())
    assert sizes == [5]


def test_several_images_are_one_batch_in_their_order(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several images are one batch and answered in their order."""
    sizes: list[int] = []
    real = EmotionClassifier.logits
    monkeypatch.setattr(EmotionClassifier, "logits", lambda self, x: (sizes.append(len(x)), real(self, x))[1])
    recognizer = Recognizer.load(brightness_model, Boxes((10, 10, 60, 60), (110, 10, 160, 60)))
    found = recognizer.recognize_many([halves(), np.full((100, 200, 3), 230, np.uint8)])
    assert sizes == [4]
    assert [[face.emotion for face in faces] for faces in found] == [["angry", "happy"], ["neutral", "neutral"]]
    assert recognizer.recognize_many([]) == []


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_face_is_found_by_rotating_the_image(brightness_model: Path, drawn_face: UInt8Array, degrees: int) -> None:
    """A face that lies is found by turning the image."""
    recognizer = Recognizer.load(brightness_model)
    (upright,) = recognizer.recognize(drawn_face)
    lying = np.ascontiguousarray(np.rot90(drawn_face, -degrees // 90))
    (face,) = recognizer.recognize(lying)
    assert face.rotation == degrees
    assert face.as_dict()["rotation"] == degrees
    assert face.probabilities == upright.probabilities
    assert face.box_xyxy is not None
    assert face.image_size == (lying.shape[1], lying.shape[0])
    x1, y1, x2, y2 = (round(value) for value in face.box_xyxy)
    cut = np.rot90(lying[y1:y2, x1:x2], degrees // 90)
    u1, v1, u2, v2 = (round(value) for value in upright.box_xyxy or (0, 0, 0, 0))
    np.testing.assert_array_equal(cut, drawn_face[v1:v2, u1:u2])


def test_the_rotation_with_the_highest_score_is_used(brightness_model: Path) -> None:
    """YuNet finds faces upside down, too: those of a lying picture after one turn and, surer, after the opposite one."""
    box, detector = (10.0, 10.0, 60.0, 60.0), Boxes()
    answers = [[], [FaceBox(box, box, 0.8)], [], [FaceBox(box, box, 0.9)], [FaceBox(box, box, 0.9)]]
    detector.detect = lambda _: answers.pop(0)  # type: ignore[method-assign]
    (face,) = Recognizer.load(brightness_model, detector).recognize(np.zeros((100, 100, 3), np.uint8))
    assert (face.rotation, face.detection_score) == (270, 0.9)


def test_what_was_cut_out_comes_with_the_answers(brightness_model: Path, drawn_face: UInt8Array) -> None:
    recognizer = Recognizer.load(brightness_model)
    for picture in (drawn_face, np.ascontiguousarray(np.rot90(drawn_face))):
        ((face, cut),) = recognizer.recognize_cut(picture)
        assert [face] == recognizer.recognize(picture)
        seen = to_model_input(cut, recognizer.info.image_spec)
        assert face.probabilities == tuple(recognizer.classifier.probabilities(seen[np.newaxis])[0].tolist())
    assert recognizer.recognize_cut(np.full_like(drawn_face, 128)) == []


def test_a_tilted_face_is_cut_out_with_its_eyes_level(brightness_model: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    box, eyes = (60.0, 20.0, 120.0, 80.0), ((80.0, 40.0), (100.0, 60.0), *REST)
    detector = Boxes()
    detector._faces = [FaceBox(box, box, 0.9, eyes)]
    ((_, cut),) = Recognizer.load(brightness_model, detector).recognize_cut(image)
    np.testing.assert_array_equal(cut, crop_rotated(image, box, 45.0))


def test_the_pose_comes_from_the_landmarks(brightness_model: Path) -> None:
    """A head of which the geometry is known, rolled by 10 and turned by 30 degrees to the picture's right."""
    yaw, roll = np.radians(30), np.radians(10)
    head = np.array(
        [[-30, 0, 0], [30, 0, 0], [0, 25, 60 * NOSE_LENGTH], [-20, 60, 0], [20, 60, 0]]
    )  # x, y and towards the camera
    seen = np.column_stack([head[:, 0] * np.cos(yaw) + head[:, 2] * np.sin(yaw), head[:, 1]])
    turned_by = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    marks = tuple((float(x), float(y)) for x, y in seen @ turned_by + 50)
    detector = Boxes()
    detector._faces = [FaceBox((10, 10, 90, 90), (10, 10, 90, 90), 0.9, marks)]
    recognizer = Recognizer.load(brightness_model, detector)
    picture = np.zeros((100, 100, 3), np.uint8)
    (face,) = recognizer.recognize(picture)
    assert face.as_dict()["pose"] == {"roll": 10.0, "yaw": 30.0}
    answers = [[], detector._faces, [], [], detector._faces]  # found only after a quarter turn
    detector.detect = lambda _: answers.pop(0)  # type: ignore[method-assign]
    (face,) = recognizer.recognize(picture)
    assert (face.rotation, face.as_dict()["pose"]) == (90, {"roll": 100.0, "yaw": 30.0})


def test_no_landmarks_are_no_pose(brightness_model: Path) -> None:
    (face,) = Recognizer.load(brightness_model, Boxes((10, 10, 60, 60))).recognize(halves())
    assert face.pose is None
    assert face.as_dict()["pose"] is None


def test_no_rotation_is_0(brightness_model: Path, drawn_face: UInt8Array) -> None:
    (face,) = Recognizer.load(brightness_model).recognize(drawn_face)
    assert face.rotation == face.as_dict()["rotation"] == 0


@pytest.mark.parametrize(("tilt", "levelled"), [(0.0, False), (9.0, False), (30.0, True), (-30.0, True)])
def test_eyes_far_out_of_level_are_levelled(
    brightness_model: Path, tilt: float, levelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    angles: list[float] = []
    monkeypatch.setattr(
        "fer_pipeline.inference.recognizer.crop_rotated", lambda image, box, angle: (angles.append(angle), crop(image, box))[1]
    )
    radians = np.deg2rad(tilt)
    eyes = ((30.0, 30.0), (30 + 20 * float(np.cos(radians)), 30 + 20 * float(np.sin(radians))), *REST)
    detector = Boxes()
    detector._faces = [FaceBox((10, 10, 60, 60), (10, 10, 60, 60), 0.9, eyes)]
    Recognizer.load(brightness_model, detector).recognize(halves())
    assert angles == (pytest.approx([tilt]) if levelled else [])


def test_a_picture_without_faces_has_an_empty_answer(brightness_model: Path) -> None:
    assert Recognizer.load(brightness_model).recognize(halves()) == []


def test_centerface_is_the_detector_by_default(brightness_model: Path, drawn_face: UInt8Array) -> None:
    recognizer = Recognizer.load(brightness_model)
    (face,) = recognizer.recognize(drawn_face)
    assert recognizer.detector.name == "centerface"
    assert face.pose is not None


def test_the_image_spec_names_the_detector(brightness_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    info = ModelInfo.read(folder)
    replace(info, image_spec=replace(info.image_spec, detector="haar")).write(folder)
    assert Recognizer.load(folder).detector.name == "haar"
    assert Recognizer.load(folder, "centerface").detector.name == "centerface"
    (folder / YUNET_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is not a YuNet network"):  # it was taken, and nothing else in its place
        Recognizer.load(folder, "yunet")


def test_the_answer_is_uncertain_below_the_threshold(brightness_model: Path) -> None:
    between = np.full((48, 48), 20 + 35 * 3 + 17, np.uint8)  # nearly as near to class 4 as to class 3
    face = Recognizer.load(brightness_model, threshold=0.6).recognize_face(between)
    assert face.emotion == UNCERTAIN
    assert face.top_emotion == "happy"
    assert "low_confidence" in face.reasons
    assert Recognizer.load(brightness_model, threshold=0.0).recognize_face(between).emotion == "happy"


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_that_is_no_probability_is_refused(brightness_model: Path, threshold: float) -> None:
    with pytest.raises(ParamsError, match="threshold"):
        Recognizer.load(brightness_model, threshold=threshold)


@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 1), (100, 80, 3), (5, 9)])
def test_a_picture_that_is_a_face_is_taken_whole(brightness_model: Path, shape: tuple[int, ...]) -> None:
    face = Recognizer.load(brightness_model, Boxes()).recognize_face(np.full(shape, 230, np.uint8))
    assert face.top_emotion == "neutral"
    assert face.box_xyxy is None
    assert face.detection_score is None


def test_the_answer_is_plain_json(brightness_model: Path) -> None:
    (face,) = Recognizer.load(brightness_model, Boxes((110, 10, 190, 90.04))).recognize(halves())
    values = json.loads(json.dumps(face.as_dict()))
    assert values["box"] == {"x": 110.0, "y": 10.0, "width": 80.0, "height": 80.0}
    assert list(values["probabilities"]) == list(EMOTIONS)
    assert values["confidence"] == max(values["probabilities"].values())
    assert values["reasons"] == ["blurry"]


def test_threads_get_the_answers_of_their_own_pictures(brightness_model: Path, drawn_face: UInt8Array) -> None:
    recognizer = Recognizer.load(brightness_model)
    pictures = [drawn_face, np.full_like(drawn_face, 128), np.ascontiguousarray(drawn_face[::2, ::2])]
    expected = [recognizer.recognize(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(recognizer.recognize, pictures * 8))
    assert found == expected * 8


def test_importing_the_recognizer_is_quick_and_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter();"
        "import fer_pipeline.inference.recognizer, fer_pipeline.inference.drawing;"
        "print(time.perf_counter() - start, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    seconds, *modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "pandas", "pyarrow", "pydantic", "pyspark", "mlflow", "matplotlib"} & set(modules)
    assert float(seconds) < 3  # 0.4 s on a quiet machine
