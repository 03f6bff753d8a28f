"""The embedded default data: the same for a seed, in all classes and splits, varied, and with expressions that can be told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from fer_pipeline.config.params import FetchParams
from fer_pipeline.data.fetch.fetch import check, fetch
from fer_pipeline.data.synthetic.face import draw_face
from fer_pipeline.data.synthetic.generator import CLASS_SHARES, EMOTION_ACTION_UNITS, MIN_FACES, draw_faces, plan
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS, emotion_index
from fer_pipeline.workspace.layout import SYNTHETIC

Drawn = tuple[UInt8Array, npt.NDArray[np.int8]]


def drawing(folder: Path, *, faces: int, seed: int) -> Path:
    """A file that says which synthetic faces to draw."""
    file = folder / "synthetic.yaml"
    file.write_text(f"faces: {faces}\nseed: {seed}\n")
    return file


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw_faces(420, 3)


def test_faces_have_the_promised_shape_and_type(drawn: Drawn) -> None:
    faces, labels = drawn
    assert (faces.shape, faces.dtype) == ((420, 48, 48), np.uint8)
    assert (labels.shape, labels.dtype) == ((420,), np.int8)
    assert set(labels.tolist()) == set(range(7))


def test_one_seed_gives_the_same_faces_and_another_seed_others(drawn: Drawn) -> None:
    again, labels = draw_faces(420, 3)
    assert np.array_equal(again, drawn[0])
    assert np.array_equal(labels, drawn[1])
    other, _ = draw_faces(42, 4)
    assert not any(np.array_equal(a, b) for a, b in zip(draw_faces(42, 3)[0], other, strict=True))


def test_faces_are_varied_in_light_and_never_alike(drawn: Drawn) -> None:
    faces, _ = drawn
    assert len({face.tobytes() for face in faces}) == len(faces)
    assert 100 < faces.mean() < 155  # the bounds of the data checks are 90 and 170
    assert faces.mean(axis=(1, 2)).std() > 15
    assert faces.std(axis=(1, 2)).mean() > 30
    assert (faces.std(axis=(1, 2)) > 4).all()


def test_a_face_detector_finds_most_of_them(drawn: Drawn) -> None:
    detector = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))
    found = 0
    for face in drawn[0][:60]:
        large = cv2.copyMakeBorder(np.kron(face, np.ones((3, 3), np.uint8)), 30, 30, 30, 30, cv2.BORDER_REPLICATE)
        found += len(detector.detectMultiScale(cv2.GaussianBlur(large, (0, 0), 1.5), 1.1, 3)) > 0
    assert found >= 42


def test_a_linear_model_tells_most_expressions(drawn: Drawn) -> None:
    """Expressions can be told by a linear model though not all."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    faces, labels = draw_faces(1000, 0)
    usages = np.array(plan(1000, 0)[0])
    centred = faces.reshape(len(faces), -1) / 255.0
    centred = (centred - centred.mean(axis=1, keepdims=True)) / centred.std(axis=1, keepdims=True)
    train = usages == "Training"
    model = make_pipeline(PCA(60, random_state=0), StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    model.fit(centred[train], labels[train])
    accuracy = float(model.score(centred[~train], labels[~train]))
    assert 0.35 < accuracy < 0.95, "chance is 0.25"


@pytest.mark.parametrize("emotion", [name for name in EMOTIONS if name != "neutral"])
def test_an_expression_changes_the_face(emotion: str) -> None:
    """An expression changes the face and its action units are known."""
    units = dict.fromkeys(EMOTION_ACTION_UNITS[emotion], 1.0)
    rest, moved = (draw_face(np.random.default_rng(5), strengths).astype(int) for strengths in ({}, units))
    changed = np.abs(rest - moved) > 40
    assert changed.sum() > 30
    assert changed[16:].any(), "below the forehead"


def test_each_action_unit_of_the_table_moves_something() -> None:
    for unit in {unit for units in EMOTION_ACTION_UNITS.values() for unit in units}:
        rest, moved = (draw_face(np.random.default_rng(5), strengths).astype(int) for strengths in ({}, {unit: 1.0}))
        assert (np.abs(rest - moved) > 15).sum() >= 5, f"action unit {unit}"


def test_the_table_names_all_emotions_and_neutral_has_no_action() -> None:
    assert set(EMOTION_ACTION_UNITS) == set(CLASS_SHARES) == set(EMOTIONS)
    assert EMOTION_ACTION_UNITS["neutral"] == ()
    assert sum(CLASS_SHARES.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [MIN_FACES, 22, 70, 200, 1234])
def test_every_split_has_every_emotion(count: int) -> None:
    usages, labels = plan(count, 0)
    assert len(usages) == len(labels) == count
    for usage in ("Training", "PublicTest", "PrivateTest"):
        assert set(labels[np.array(usages) == usage].tolist()) == set(range(7))
    assert list(usages) == sorted(usages, key=("Training", "PublicTest", "PrivateTest").index)


def test_shares_are_those_promised() -> None:
    usages, labels = plan(3000, 0)
    for name, share in CLASS_SHARES.items():
        assert (labels == emotion_index(name)).mean() == pytest.approx(share, abs=0.002)
    assert usages.count("Training") / 3000 == pytest.approx(0.8, abs=0.003)


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(SourceError, match=r"faces = 20: at least 21 are needed"):
        plan(20, 0)


def test_fetch_draws_what_the_file_of_synthetic_faces_says(tmp_path: Path) -> None:
    metadata = fetch(drawing(tmp_path, faces=30, seed=7), tmp_path / "raw", FetchParams())
    rows = pq.read_table(tmp_path / "raw" / "faces.parquet").to_pylist()
    assert (metadata.kind, metadata.synthetic, metadata.seed, metadata.rows, len(rows)) == ("synthetic", True, 7, 30, 30)
    faces, labels = draw_faces(30, 7)
    usages, _ = plan(30, 7)
    for number, row in enumerate(rows):
        assert row["name"] == f"synthetic:{number}"
        assert (row["emotion"], row["usage"]) == (str(labels[number]), usages[number])
        assert [int(value) for value in row["pixels"].split()] == faces[number].ravel().tolist()
        assert row["image"] is None


def test_two_fetches_of_one_seed_are_byte_equal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fetch(drawing(tmp_path, faces=25, seed=1), tmp_path / name, FetchParams())
    for file in ("faces.parquet", "source.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("faces: 30", "seed is missing"),
        ("faces: 30\nseed: 0\nface: 3", "unknown key face, did you mean 'faces'"),
        ("faces: 0\nseed: 0", "faces = 0"),
        ("faces: 20\nseed: 0", "faces = 20: at least 21 are needed"),
        ("faces: [", "cannot be read as YAML"),
        ("", "expected two keys such as faces: 3000"),
    ],
)
def test_an_unfit_file_of_synthetic_faces_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "synthetic.yaml").write_text(content)
    with pytest.raises(SourceError, match=message):
        fetch(tmp_path / "synthetic.yaml", tmp_path / "raw", FetchParams())
    assert not (tmp_path / "raw").exists()


def test_the_tracked_file_of_synthetic_faces_is_valid() -> None:
    check(Path(__file__).parents[3] / SYNTHETIC, FetchParams())
