from __future__ import annotations

import csv
import io
import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import VideoInfo, analyse
from fer_pipeline.inference.video.writers import COLUMNS, Subtitles, clock
from fer_pipeline.labels import EMOTIONS
from tests.inference.video.conftest import SMALL, rows


def test_the_csv_table_says_the_same_as_the_json_lines(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    analyse(film, recognizer, tmp_path, options=SMALL)
    with (tmp_path / "faces.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == COLUMNS
    assert len(table) == len(rows(tmp_path))
    for line, row in zip(table, rows(tmp_path), strict=True):
        assert (int(line["frame"]), float(line["time"]), int(line["track"])) == (row["frame"], row["time"], row["track"])
        assert float(line["x"]) == row["box"]["x"]
        assert [float(line[name]) for name in EMOTIONS] == list(row["probabilities"].values())
        assert [float(line[f"smoothed_{name}"]) for name in EMOTIONS] == list(row["smoothed"].values())
        assert line["smoothed_emotion"] == row["smoothed_emotion"]


def subtitles(*spans: tuple[int, str]) -> list[str]:
    """The cues of one person with each label for so many frames of a film of 20 frames a second; "" is nobody."""
    file = io.StringIO()
    written = Subtitles(file)
    time = 0
    for frames, label in spans:
        for _ in range(frames):
            faces = [SimpleNamespace(track=1, emotion=label)] if label else []
            written.add(time / 20, faces)  # type: ignore[arg-type]
            time += 1
    written.close()
    return re.findall(r"00:00:(\d\d\.\d{3} --> )00:00:(\d\d\.\d{3})\nPerson 1: (\w+)", file.getvalue())


def cue(start: float, end: float, label: str) -> tuple[str, str, str]:
    return f"{start:06.3f} --> ", f"{end:06.3f}", label


@pytest.mark.parametrize(
    ("spans", "cues"),
    [
        ([(20, "happy"), (20, "sad")], [cue(0, 1, "happy"), cue(1, 2, "sad")]),
        ([(20, "happy"), (6, "sad"), (20, "happy")], [cue(0, 1, "happy"), cue(1, 1.3, "sad"), cue(1.3, 2.3, "happy")]),
        ([(20, "happy"), (5, "sad"), (20, "happy")], [cue(0, 2.25, "happy")]),
        ([(20, "happy"), (2, "sad"), (2, "fear"), (20, "angry")], [cue(0, 1, "happy"), cue(1, 2.2, "angry")]),
        ([(3, "sad"), (20, "happy")], [cue(0, 1.15, "happy")]),
        ([(20, "happy"), (3, "sad")], [cue(0, 1.15, "happy")]),
        ([(20, "happy"), (10, ""), (10, "sad")], [cue(0, 1, "happy"), cue(1.5, 2, "sad")]),
        ([(20, ""), (2, "happy"), (20, "")], []),
        ([(2, "happy")], [cue(0, 0.3, "happy")]),
        ([(20, "")], []),
    ],
)
def test_no_cue_is_too_short_to_be_read(spans: list[tuple[int, str]], cues: list[tuple[str, str, str]]) -> None:
    assert subtitles(*spans) == cues


def test_the_subtitle_cues_do_not_overlap_and_end_with_the_video(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    """The subtitles are cues without overlap that end with the film."""
    analyse(film, recognizer, tmp_path, options=SMALL)
    text = (tmp_path / "subtitles.vtt").read_text()
    assert text.startswith("WEBVTT\n\n")
    cues = re.findall(r"(\d\d):(\d\d):(\d\d\.\d{3}) --> (\d\d):(\d\d):(\d\d\.\d{3})\n(.+?)\n\n", text, re.DOTALL)
    spans = [(float(cue[2]), float(cue[5])) for cue in cues]
    assert cues[0][6] == "Person 1: happy"
    assert cues[1][6] == "Person 1: happy\nPerson 2: sad"
    assert cues[-1][6] == "Person 1: neutral"
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] == pytest.approx(3.0, abs=0.01)


def test_the_annotated_video_has_the_times_of_the_film_and_boxes(
    tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer
) -> None:
    times = [0.0, 0.04, 0.3, 0.34, 1.5, 1.52]
    path = write_video(tmp_path / "film.mp4", [spots((40, 40, 60, 125))] * 6, times=times)
    analyse(path, recognizer, tmp_path / "out", options=SMALL)
    with av.open(str(tmp_path / "out" / "annotated.webm")) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
        found = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [time for time, _ in found] == pytest.approx(times, abs=0.002)
    red, green, blue = found[0][1][70, 40].astype(int)  # on the left edge of the box, in the colour of "happy"
    assert min(red, green) > blue + 50


def test_odd_sizes_can_be_annotated(tmp_path: Path, recognizer: Recognizer, write_video: Any, spots: Any) -> None:
    path = write_video(tmp_path / "film.mkv", [spots((20, 20, 40, 125), size=(161, 121))] * 3, codec="ffv1")
    analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert VideoInfo.read(tmp_path / "out" / "annotated.webm").width == 161


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00:00.000"), (3723.45, "01:02:03.450"), (59.9996, "00:01:00.000")])
def test_the_clock_of_the_subtitles(seconds: float, text: str) -> None:
    assert clock(seconds) == text
