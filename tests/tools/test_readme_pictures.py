from __future__ import annotations

import re

import cv2
import numpy as np
import yaml

from tools.readme_pictures import FOLDER, group_picture

ROOT = FOLDER.parents[1]


def test_readme_shows_the_pictures_that_the_script_makes() -> None:
    shown = re.findall(r"!\[[^]]+\]\(docs/pictures/([\w.]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown == ["page.webp", "video.webp", "pipeline.svg"]
    assert {file.name: file.stat().st_size < 200_000 for file in FOLDER.iterdir()} == dict.fromkeys([*shown, "faces.jpg"], True)


def test_the_picture_that_readme_recognizes_is_drawn() -> None:
    """No person is in it: it is what the script draws, but for what JPEG loses."""
    stored = cv2.imread(str(FOLDER / "faces.jpg"))
    assert stored is not None
    assert np.abs(stored.astype(int) - group_picture()).mean() < 3


def test_the_drawing_of_the_pipeline_has_each_stage() -> None:
    drawn = re.findall(r"<text[^>]*>([^<]+)</text>", (FOLDER / "pipeline.svg").read_text(encoding="utf-8"))
    stages = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    assert set(stages) <= set(drawn)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (described,) = re.findall(r"!\[([^]]+)\]\(docs/pictures/pipeline.svg\)", text)
    assert re.findall("|".join(stages), described) == stages  # in this order
