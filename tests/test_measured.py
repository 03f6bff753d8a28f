"""Figures of the pages beside the outputs of `python -m benchmarks` that are kept in git."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = " ".join(" ".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").glob("*.md"))).split())
RESULTS = ROOT / "benchmarks" / "results"


def rows(name: str) -> list[list[str]]:
    """Cells of the tables in an output, without those of its heads."""
    lines = (RESULTS / name).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines if line.startswith("│")]


def test_the_pages_give_what_the_gate_did() -> None:
    promoted = {cells[0]: f"{float(cells[1].rstrip(' %')):g}" for cells in rows("gate.txt")}
    assert f"was promoted in {promoted['equal']} % of 200 comparisons" in TEXT
    assert f"3 points better in every recall in {promoted['all +3']} %" in TEXT
    assert f"gives up 20 points of disgust for that in {promoted['all +3, disgust -20']} %" in TEXT
    assert promoted["all -5"] == "0"  # "one 5 points worse never"


def test_the_pages_give_how_drift_was_found() -> None:
    found = {cells[0]: [float(cell.rstrip(" %")) for cell in cells[1:]] for cells in rows("drift.txt")}
    (alarms,) = [values for name, values in found.items() if name.startswith("the test split as it is (2,000 windows)")]
    assert f"without drift {alarms[0]:g} % of those of 200 pictures gave a false alarm" in TEXT
    assert alarms[1] == 0  # "and none of 2,000 windows of 500"
    (mixed,) = [values for name, values in found.items() if name.startswith("happy 0.3 times")]
    assert f"in {mixed[0]:g} % of the windows of 200 and in all of 500" in TEXT
    assert mixed[1] == 100


def test_the_pages_give_what_joining_over_time_brings() -> None:
    film, camera = rows("temporal.txt")[:3], rows("temporal.txt")[3:]
    shares, changes, delays = ([cells[number] for cells in film] for number in (1, 2, 3))
    assert f"right are {shares[0]} of the frames without joining, {shares[1]} smoothed, {shares[2]} by the hidden" in TEXT
    assert f"the label changes {changes[0]}, {changes[1]} and {changes[2]} times a second" in TEXT
    assert f"shows after {float(delays[0]):g}, {delays[1]} and {delays[2]} s" in TEXT
    slow = [cells[1].removesuffix(" %") for cells in camera]
    assert f"{slow[0]}, {slow[1]} and {slow[2]} %" in TEXT


def test_the_pages_give_the_transcript_of_a_models_life() -> None:
    transcript = (ROOT / "benchmarks" / "lifecycle" / "transcript.txt").read_text(encoding="utf-8")
    counts = [
        (int(sent.replace(",", "")), int(failed)) for sent, failed in re.findall(r"([\d,]+) requests, (\d+) failed", transcript)
    ]
    assert f"not one of {sum(sent for sent, _ in counts):,} requests failed" in TEXT
    assert sum(failed for _, failed in counts) == 0
    (seconds,) = re.findall(r"rollback takes less than 10 s: the command took ([\d.]+) s", transcript)
    assert f"the roll-back to a packaged version took {seconds} s" in TEXT


@pytest.mark.parametrize(
    ("name", "side"),
    [("CenterFace", 320), ("CenterFace", 480), ("CenterFace", 640), ("CenterFace", 960), ("Haar", 640), ("YuNet", 640)],
)
def test_the_pages_give_the_faces_that_were_found(name: str, side: int) -> None:
    figures = json.loads((RESULTS / "detection.json").read_text(encoding="utf-8"))["figures"]
    large, small = [one for one in figures if (one["detector"], one["longest_side"]) == (name.lower(), side)]
    (row,) = re.findall(rf"\| {name} {side}[^|]*\|([^|]+)\|([^|]+)\|", TEXT)
    for cell, found in zip(row, (large, small), strict=True):
        measured = [found["average_precision"], found["recall"], found["precision"]]
        assert [float(said) for said in cell.split(",")] == pytest.approx(measured, abs=0.0051)
