"""Measure how many faces each detector finds in street and party pictures.

`BENCH_DETECTION` names a folder with pictures and boxes.json: by file name, `width` and `height` to which the picture is resized
first, and `boxes_xyxy` of all faces. Judged are faces of at least 50 pixels in their longer side; smaller ones are ignored,
found or not. `BENCH_YUNET` names YuNet's file. Writes benchmarks/results/detection.json.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.table import Table

from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import UInt8Array, decode
from fer_pipeline.inference.detection import centerface, haar, yunet
from fer_pipeline.inference.detection.faces import Box, FaceDetector, iou
from fer_pipeline.inference.detection.yunet_download import find_yunet
from fer_pipeline.workspace.files import write_json

RESULTS = Path(__file__).parent / "results" / "detection.json"
MIN_OVERLAP = 0.5
JUDGED = {"50 pixels and more": (50.0, np.inf), "20 to 50 pixels": (20.0, 50.0)}
LOW_SCORE = 0.05
"""Below the threshold of any detector: average precision needs the unsure boxes, too."""

Picture = tuple[UInt8Array, list[Box]]
Found = list[tuple[Box, float]]


@dataclass(frozen=True)
class Figures:
    """What one detector finds: shares in 0..1, and its time.

    `milliseconds` are those of one picture on one thread, CPU time, in the median.
    """

    detector: str
    longest_side: int
    faces: str
    average_precision: float
    recall: float
    precision: float
    milliseconds: float


def tables() -> Iterator[Table]:
    """Yield one table with all detectors, and write them to `RESULTS`.

    Raises `SourceError` where `BENCH_DETECTION` names no such folder.
    """
    cv2.setNumThreads(1)
    pictures = list(_pictures())
    figures = [row for name, side, least, detector in _detectors() for row in _measure(name, side, least, detector, pictures)]
    write_json(RESULTS, {"pictures": len(pictures), "figures": [asdict(row) for row in figures]})
    table = Table("detector", "longest side", "faces", "AP", "recall", "precision", "CPU ms", title=f"{len(pictures)} pictures")
    for row in figures:
        shares = (f"{value:.3f}" for value in (row.average_precision, row.recall, row.precision))
        table.add_row(row.detector, str(row.longest_side), row.faces, *shares, f"{row.milliseconds:.0f}")
    yield table


def average_precision(found: list[Found], truth: list[list[Box]], sizes: tuple[float, float], least: float) -> tuple[float, ...]:
    """Return average precision, recall and precision.

    The latter two are those of the boxes with a score of at least `least`. Only faces with a longer side within `sizes` are
    judged. A box on any other face counts neither way, nor does a false one of another size.
    """
    hits: list[tuple[float, bool]] = []
    total = 0
    for boxes, faces in zip(found, truth, strict=True):
        total += sum(_within(face, sizes) for face in faces)
        free = list(faces)
        for box, score in sorted(boxes, key=lambda pair: -pair[1]):
            overlapping = [face for face in free if iou(box, face) >= MIN_OVERLAP]
            face = max(overlapping, key=lambda face: (_within(face, sizes), iou(box, face)), default=None)
            if face is not None:
                free.remove(face)
            if _within(box if face is None else face, sizes):
                hits.append((score, face is not None))
    hits.sort(key=lambda hit: -hit[0])
    right = np.cumsum([hit for _, hit in hits])
    precision = right / np.arange(1, len(hits) + 1)
    recall = right / total
    best = np.maximum.accumulate(precision[::-1])[::-1]
    kept = sum(score >= least for score, _ in hits)
    area = float(np.sum(np.diff(np.concatenate([[0.0], recall])) * best))
    return (area, float(recall[kept - 1]), float(precision[kept - 1])) if kept else (area, 0.0, 1.0)


def _within(box: Box, sizes: tuple[float, float]) -> bool:
    return bool(sizes[0] <= max(box[2] - box[0], box[3] - box[1]) < sizes[1])


def _measure(name: str, side: int, least: float, detector: FaceDetector, pictures: list[Picture]) -> Iterator[Figures]:
    found, seconds = [], np.zeros(len(pictures))
    for number, (image, _) in enumerate(pictures):
        started = time.process_time()
        faces = detector.detect(image)
        seconds[number] = time.process_time() - started
        found.append([(face.box_xyxy, face.score) for face in faces])
    for words, sizes in JUDGED.items():
        figures = average_precision(found, [faces for _, faces in pictures], sizes, least)
        area, recall, precision = (round(value, 4) for value in figures)
        yield Figures(name, side, words, area, recall, precision, round(1000 * float(np.median(seconds)), 1))


def _detectors() -> Iterator[tuple[str, int, float, FaceDetector]]:
    least = centerface.CENTERFACE_MIN_SCORE
    for side in (320, centerface.CENTERFACE_SIDE, 640, 960):
        yield "centerface", side, least, centerface.CenterFaceDetector(LOW_SCORE, side)
    yield "haar", 640, 0.0, haar.HaarDetector()
    file = os.environ.get("BENCH_YUNET") or find_yunet()
    if file:
        yield "yunet", 640, yunet.YUNET_MIN_SCORE, yunet.YuNetDetector(Path(file), LOW_SCORE)


def _pictures() -> Iterator[Picture]:
    folder = Path(os.environ.get("BENCH_DETECTION", ""))
    try:
        known = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(
            f"BENCH_DETECTION is {str(folder)!r}, expected a folder with pictures and boxes.json: {error}"
        ) from error
    for name, values in known.items():
        image = cv2.resize(decode((folder / name).read_bytes()), (values["width"], values["height"]))
        boxes: list[Box] = [tuple(box) for box in values["boxes_xyxy"]]
        yield np.asarray(image, np.uint8), boxes
