from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_pipeline.inference.drawing import COLOURS
from fer_pipeline.inference.video.timeline import draw_timeline
from fer_pipeline.labels import EMOTIONS


def test_a_band_is_coloured_while_seen_and_else_transparent(tmp_path: Path) -> None:
    table = tmp_path / "faces.jsonl"
    smoothed = {emotion: float(emotion == "happy") for emotion in EMOTIONS}
    rows = [{"track": 7, "time": frame / 25, "smoothed": smoothed} for frame in range(100)]
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    timeline = draw_timeline(table, [7], 8.0)
    data = base64.b64decode(timeline.bands[7].partition(",")[2])
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    assert (image[:, : int(0.49 * image.shape[1])] == (*COLOURS["happy"], 255)).all()
    assert (image[:, int(0.52 * image.shape[1]) :, 3] == 0).all()
    assert timeline.ticks == (0, 1, 2, 3, 4, 5, 6, 7, 8)


@pytest.mark.parametrize("seconds", [0.04, 2.4, 61, 4000, 90_000])
def test_a_phone_has_room_for_the_ticks(tmp_path: Path, seconds: float) -> None:
    (tmp_path / "faces.jsonl").touch()
    timeline = draw_timeline(tmp_path / "faces.jsonl", [], seconds)
    assert 1 <= len(timeline.ticks) <= 9
    assert timeline.ticks[-1] <= timeline.end == max(seconds, 0.1)
