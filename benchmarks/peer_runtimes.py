"""Time one network on onnxruntime, LiteRT and OpenVINO.

Runs in the environment of the peers; onnxruntime is used as this project uses it.

Prints JSON: per runtime and batch size the median milliseconds, of rounds in which all take turns, and how far the answers are
from those of onnxruntime in float32. All use as many threads as the command says.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
from ai_edge_litert.interpreter import Interpreter

from fer_pipeline.inference.classifier import open_session, session_logits

Run = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]

ROUNDS = {1: 400, 64: 40}


def main(shipped: Path, converted: Path, threads: int) -> None:
    """Measures and prints.

    `converted` holds the network in float32 as model.onnx and model.tflite, and as int8.tflite.
    """
    full = converted / "model.onnx"
    runtimes: dict[str, Run] = {
        "onnxruntime, float32": _onnxruntime(full, threads),
        "onnxruntime, as shipped": _onnxruntime(shipped, threads),
        "LiteRT, float32": _litert(converted / "model.tflite", threads),
        "LiteRT, int8": _litert(converted / "int8.tflite", threads),
        "OpenVINO, float32": _openvino(full, threads, "f32"),
        "OpenVINO, its own choice of precision": _openvino(full, threads, None),
        "OpenVINO, file as shipped": _openvino(shipped, threads, None),
    }
    found: dict[str, dict[str, float]] = {name: {} for name in runtimes}
    for batch, rounds in ROUNDS.items():
        faces = np.random.default_rng(0).integers(0, 256, (batch, 48, 48, 1), dtype=np.uint8)
        expected = runtimes["onnxruntime, float32"](faces)
        times: dict[str, list[float]] = {name: [] for name in runtimes}
        for turn in range(rounds + 5):
            for name, run in runtimes.items():
                started = time.perf_counter()
                answer = run(faces)
                if turn >= 5:
                    times[name].append(time.perf_counter() - started)
                found[name]["difference"] = float(np.abs(answer - expected).max())
        for name, seconds in times.items():
            found[name][str(batch)] = 1000 * statistics.median(seconds)
    sys.stdout.write(json.dumps(found) + "\n")


def _onnxruntime(file: Path, threads: int) -> Run:
    session = open_session(file, threads)
    return lambda faces: session_logits(session, faces)


def _litert(file: Path, threads: int) -> Run:
    interpreter = Interpreter(str(file), num_threads=threads)
    size = 0

    def run(faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        nonlocal size
        entry, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        if size != len(faces):
            size = len(faces)
            interpreter.resize_tensor_input(entry, faces.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(entry, faces)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(out))

    return run


def _openvino(file: Path, threads: int, precision: str | None) -> Run:
    options: dict[str, object] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        options["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.compile_model(file, "CPU", options)
    request = compiled.create_infer_request()

    def run(faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.array(request.infer([faces], share_inputs=True)[0])

    return run


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
