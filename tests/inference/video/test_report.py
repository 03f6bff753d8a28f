from __future__ import annotations

import re
from pathlib import Path

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import analyse
from fer_pipeline.inference.video.report import write_report
from tests.inference.video.conftest import SMALL


def test_the_report_is_one_file_that_asks_for_nothing(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    page = write_report(tmp_path, analyse(film, recognizer, tmp_path, options=SMALL)).read_text()
    assert f"model brightness ({recognizer.info.fingerprint})" in page
    assert "film.mp4" in page
    assert "Person 1" in page
    assert "Person 2" in page
    assert page.count("data:image/png") == 5  # two bands; happy, neutral; sad
    assert re.findall(r'<video[^>]* src="([^"]*)"', page) == ["annotated.webm"]
    assert page.count('href="annotated.webm#t=') == 3  # to the moment of each peak
    assert not re.findall(r'(?:src|href)="(?!data:|annotated\.webm|subtitles\.vtt|faces\.)', page)


def test_the_name_of_a_film_is_no_markup(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    odd = tmp_path / "<b>&.mp4"
    odd.write_bytes(film.read_bytes())
    page = write_report(tmp_path / "out", analyse(odd, recognizer, tmp_path / "out", options=SMALL)).read_text()
    assert "<b>&.mp4" not in page
    assert "&lt;b&gt;&amp;.mp4" in page
