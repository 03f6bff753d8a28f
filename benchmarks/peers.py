"""Compare speed with peers on the same machine in the same run.

`fer` (PyPI) over a video, LiteRT and OpenVINO on the same network.

The peers live in environments of their own, which the first run makes with uv from the package index (2.5 GB, in the user's cache
folder). Ours is the shipped model `fast`. `BENCH_VIDEO` names a video (default: 300 frames of 640x360 with a drawn face),
`BENCH_YUNET` YuNet's file (default: what `fer models fetch yunet` fetched).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from rich.table import Table

from benchmarks.inference import MODEL
from benchmarks.service import chosen, verdict
from fer_pipeline.data.synthetic.generator import draw_faces
from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.imaging import shrink
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import VideoOptions, analyse
from fer_pipeline.inference.video.decoding import frames
from fer_pipeline.model_info import MODEL_FILE

ROOT = Path(__file__).resolve().parents[1]

# A plain installation of `fer` brings versions that do not work together any more, and torch, which only MTCNN needs.
FER = "fer==25.10.3"
FER_NEEDS = ("opencv-python-headless<5", "setuptools<81", "tensorflow==2.21.0", "pandas", "requests", "tqdm", "pillow")
RUNTIMES = ("ai-edge-litert==2.3.0", "openvino==2026.4.1", "onnxruntime==1.31.1", "opencv-python-headless<5", "pillow")

VIDEO_ROUNDS = 3
LEAST_RATIO, MOST_OVER_BEST = 4.0, 1.10


def tables() -> Iterator[Table]:
    """Video, then the classifier alone. Raises `ToolUnavailableError` where uv fails."""
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as scratch:
        yield _video(Path(scratch))
        yield from _classifier(Path(scratch))


def environment(name: str, packages: tuple[str, ...], bare: str | None = None) -> Path:
    """Return the Python of an environment with these packages; make it once.

    The package `bare` is installed without its dependencies.

    Raises `ToolUnavailableError` where uv fails.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "fer-pipeline" / "benchmarks" / name
    python, done = folder / "bin" / "python", folder / "packages"
    wanted = "\n".join((*packages, bare or ""))
    if not done.is_file() or done.read_text() != wanted:
        uv = str(Path(sys.executable).with_name("uv"))
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *packages])
        if bare is not None:
            _run([uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps", bare])
        done.write_text(wanted)
    return python


def _run(command: list[str], **variables: str) -> str:
    done = subprocess.run(command, env={**os.environ, **variables}, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolUnavailableError(f"`{' '.join(command)}` failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _video(scratch: Path) -> Table:
    video = Path(os.environ["BENCH_VIDEO"]).resolve() if "BENCH_VIDEO" in os.environ else _made(scratch / "made.mp4")
    model, detectors, _ = chosen()
    ours = {known.detector.name: known for known in (Recognizer.load(model, detector) for detector in detectors)}
    rows: dict[str, list[dict[str, float]]] = {"fer, Haar and TFLite": [], **{f"this, {name}": [] for name in ours}}
    command = [str(environment("fer", FER_NEEDS, FER)), str(ROOT / "benchmarks" / "peer_video.py"), str(video), str(scratch)]
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **quiet) as peer:  # type: ignore[call-overload]
        for turn in range(VIDEO_ROUNDS):
            peer.stdin.write("\n")
            peer.stdin.flush()
            rows["fer, Haar and TFLite"].append(json.loads(peer.stdout.readline()))
            for name, recognizer in ours.items():
                rows[f"this, {name}"].append(_analysed(video, recognizer, scratch / f"{name}{turn}"))
        peer.stdin.close()
    theirs, *_ = rows.values()
    title = f"{video.name}, end to end without annotation, median of {VIDEO_ROUNDS}"
    table = Table("what", "frames/s", "ratio", "faces", "frames with a face", title=title)
    for name, runs in rows.items():
        speed = statistics.median(run["frames"] / run["seconds"] for run in runs)
        ratio = statistics.median(theirs[n]["seconds"] / runs[n]["seconds"] for n in range(VIDEO_ROUNDS))
        enough = runs[0]["frames_with_face"] >= theirs[0]["frames_with_face"]
        told = "" if runs is theirs else f", at least {LEAST_RATIO:g}: {verdict(ratio >= LEAST_RATIO)}"
        seen = "" if runs is theirs else f": {verdict(enough)}"
        table.add_row(name, f"{speed:.1f}", f"{ratio:.1f}{told}", f"{runs[0]['faces']}", f"{runs[0]['frames_with_face']}{seen}")
    for name, recognizer in ours.items():
        for part, value in _profile(video, recognizer).items():
            table.add_row(f"{name}: {part}, ms a frame", f"{value:.2f}")
    return table


def _analysed(video: Path, recognizer: Recognizer, out: Path) -> dict[str, float]:
    started = time.perf_counter()
    summary = analyse(video, recognizer, out, options=VideoOptions(annotate=False))
    seconds = time.perf_counter() - started
    with (out / "faces.jsonl").open() as file:
        found = [json.loads(line) for line in file]
    return {
        "seconds": seconds,
        "frames": summary.frames,
        "faces": summary.faces,
        "frames_with_face": len({face["frame"] for face in found}),
    }


def _profile(video: Path, recognizer: Recognizer) -> dict[str, float]:
    """Measure where the time goes, each part alone.

    In use the parts run beside each other, and the search only in each eighth frame.
    """
    started = time.perf_counter()
    images = [image for _, image in frames(video)][:100]
    decoding = (time.perf_counter() - started) / len(images)
    options = VideoOptions()
    searched = images[:: options.detect_every]
    small = [shrink(image, options.detection_side) for image in searched]
    started = time.perf_counter()
    found = [recognizer.detector.detect(image) for image in small]
    detecting = (time.perf_counter() - started) / len(images)
    scaled = [
        [face.scaled(image.shape[1] / less.shape[1]) for face in faces]
        for image, less, faces in zip(searched, small, found, strict=True)
    ]
    started = time.perf_counter()
    recognizer.recognize_found(list(zip(searched, scaled, strict=True)))
    judging = (time.perf_counter() - started) / len(searched)
    return {"decode": 1000 * decoding, "detect": 1000 * detecting, "crop, classify, judge": 1000 * judging}


def _made(path: Path) -> Path:
    wall = np.random.default_rng(0).integers(100, 140, (360, 640, 3)).astype(np.uint8)
    face = np.kron(draw_faces(64, 0)[0][0], np.ones((4, 4), np.uint8))[:, :, np.newaxis]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(300):
            left = 40 + number
            image = wall.copy()
            image[80:272, left : left + 192] = face
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _classifier(scratch: Path) -> Iterator[Table]:
    faces = scratch / "faces.npy"  # generated ones: here LiteRT's ranges decide about its speed alone
    np.save(faces, draw_faces(256, 0)[0][..., np.newaxis])
    _run([sys.executable, "-c", _CONVERT, str(MODEL / "model.keras"), str(faces), str(scratch)], TF_CPP_MIN_LOG_LEVEL="3")
    python = environment("runtimes", RUNTIMES)
    for threads in (1, os.cpu_count() or 1):
        command = [str(python), "-m", "benchmarks.peer_runtimes", str(MODEL / MODEL_FILE), str(scratch), str(threads)]
        found: dict[str, dict[str, float]] = json.loads(_run(command).splitlines()[-1])
        title = f"the same network, {threads} thread(s), ms"
        table = Table("runtime", "1 face", "64 faces", "largest difference of a logit", title=title)
        ours = found["onnxruntime, as shipped"]
        for name, values in found.items():
            table.add_row(name, f"{values['1']:.2f}", f"{values['64']:.2f}", f"{values['difference']:.1e}")
        over = {batch: ours[batch] / min(values[batch] for values in found.values()) for batch in ("1", "64")}
        words = [f"{over[batch]:.2f}: {verdict(over[batch] <= MOST_OVER_BEST)}" for batch in ("1", "64")]
        table.add_row("as shipped over the best of any precision", *words, f"at most {MOST_OVER_BEST}")
        yield table


_CONVERT = """
import pathlib, sys
import keras
import numpy as np
import tensorflow as tf
from fer_pipeline.models.export import to_onnx
network, faces, out = keras.saving.load_model(sys.argv[1], compile=False), np.load(sys.argv[2]), pathlib.Path(sys.argv[3])
to_onnx(network, out / "model.onnx")
converter = tf.lite.TFLiteConverter.from_keras_model(network)
(out / "model.tflite").write_bytes(converter.convert())
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([faces[i : i + 1]] for i in range(len(faces)))
(out / "int8.tflite").write_bytes(converter.convert())
"""
