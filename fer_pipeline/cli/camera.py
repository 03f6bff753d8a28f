"""`fer camera`: a live camera in a window."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from fer_pipeline.cli.options import Detector, Model, Threshold, chosen_recognizer, counted, results
from fer_pipeline.errors import ParamsError


def camera(
    camera: Annotated[str, typer.Option(help="Number of the camera, from 0, or the path of its device.")] = "0",
    mirror: Annotated[bool, typer.Option(help="Show the picture as a mirror does.")] = True,
    temporal: Annotated[
        str, typer.Option(help="How the emotions of a person are joined over time: hmm, smooth or none.")
    ] = "hmm",
    model: Model = None,
    detector: Detector = None,
    threshold: Threshold = 0.4,
) -> None:
    """Show a live camera in a window, with faces and emotions drawn in.

    It ends with q, Escape or the window. Nothing is stored. Where no display is, the page of `fer serve` has a live camera, too.

    Example: `fer camera --camera 1`
    """
    from fer_pipeline.inference.live.camera import camera_frames, watch
    from fer_pipeline.inference.live.window import Window
    from fer_pipeline.inference.smoothing import TEMPORAL_MODES, time_constants
    from fer_pipeline.inference.stream import FaceStream

    if temporal not in TEMPORAL_MODES:
        raise ParamsError(f"--temporal is {temporal}, expected one of {', '.join(TEMPORAL_MODES)}")
    smoothing, dwell = time_constants(temporal)
    source: int | str = int(camera) if camera.isdecimal() else camera
    with closing(Window("fer camera")) as window, closing(camera_frames(source)) as frames:
        stream = FaceStream(chosen_recognizer(model, detector, threshold), smoothing_seconds=smoothing, dwell_seconds=dwell)
        seen = watch(frames, stream, window.show, mirror=mirror)
    results.print(f"{counted(seen.frames, 'frame')} in {seen.seconds:.1f} s ({seen.fps:.0f} a second)")
