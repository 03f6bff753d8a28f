"""Time `fer` (PyPI) over one video, in that package's own way.

Runs in the environment of the peer, without this project; prints JSON lines.

Each line that comes in asks for one more run, and is answered by its seconds, frames, faces, and frames that have a face.
"""

from __future__ import annotations

import json
import logging
import sys
import time

import cv2

# A build without windows has no keys to ask for after each frame, nor windows to close at the end.
cv2.waitKey, cv2.destroyAllWindows = lambda _: -1, lambda: None

from fer.classes import Video  # noqa: E402
from fer.fer import FER  # noqa: E402


def main(path: str, scratch: str) -> None:
    """Time runs over the video after one warm-up frame.

    Nothing is drawn or written.
    """
    logging.disable()
    detector = FER()
    detector.detect_emotions(cv2.VideoCapture(path).read()[1])
    output, sys.stdout = sys.stdout, sys.stderr
    for _ in sys.stdin:
        started = time.perf_counter()
        video = Video(path, outdir=scratch, first_face_only=False)
        found = video.analyze(
            detector, output="pandas", save_frames=False, save_video=False, annotate_frames=False, zip_images=False
        )
        seconds = time.perf_counter() - started
        faces = int(found.filter(regex="^box").count().sum())  # a row per frame with faces: box0, angry0, ..., box1, ...
        values = {"seconds": seconds, "frames": video.frameCount, "faces": faces, "frames_with_face": len(found)}
        output.write(json.dumps(values) + "\n")
        output.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
