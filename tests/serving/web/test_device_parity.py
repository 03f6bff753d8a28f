from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_pipeline import imaging
from fer_pipeline.imaging import ImageSpec, UInt8Array
from fer_pipeline.inference.detection.centerface import CenterFaceDetector
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.live.own_neutral import COLLECT_SECONDS, OwnNeutral
from fer_pipeline.inference.neutral.reference import DEFAULT_TAU, MIN_PROBABILITY as NEUTRAL_LEAST
from fer_pipeline.inference.quality import NOSE_LENGTH, FacePose, measure
from fer_pipeline.inference.saliency import occlusion_maps
from fer_pipeline.inference.smoothing import EVIDENCE_SECONDS, MIN_PROBABILITY, EmotionFilter, ProbabilitySmoother
from fer_pipeline.inference.tracking import FaceTracker
from fer_pipeline.labels import EMOTIONS, emotion_index
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.routes import browser_files
from fer_pipeline.serving.routes.browser_files import haar_cascade
from tests.serving.browsing import NEEDS_CHROMIUM, Visit
from tests.serving.devices import called, crowd, pictures

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


def test_pictures_become_model_inputs_as_on_the_server(visit: Visit) -> None:
    script = """
      const { picture, toGray, shrink, crop, cropTurned, turned } = await import("/web/device/pixels.js");
      const { modelInput, quality } = await import("/web/device/enhance.js");
      const image = picture(values.width, values.height, 4, bytes(values.data));
      const gray = toGray(image);
      const made = {
        gray, small: shrink(gray, 200), colours: toGray(shrink(image, 200)), cut: crop(gray, values.box),
        quarter: turned(gray, 1), level: toGray(cropTurned(image, values.box, 23)),
      };
      for (const spec of values.specs) made[spec.denoise + spec.contrast] = modelInput(gray, spec);
      const lists = Object.entries(made).map(([name, { width, height, data }]) => [name, [width, height, text(data)]]);
      return [Object.fromEntries(lists), quality(gray, 0, {}).measured];
    """
    specs = [ImageSpec(denoise=denoise, contrast=contrast) for denoise in ("none", "median") for contrast in ("none", "clahe")]
    for image in pictures():
        height, width = image.shape[:2]
        box = (-10.5, 5.5, 0.8 * width, height + 7.25)
        rgba = np.dstack([image, np.full((height, width), 255, np.uint8)])
        found, fitness = called(
            visit, script, width=width, height=height, data=rgba, box=box, specs=[dataclasses.asdict(spec) for spec in specs]
        )
        gray = imaging.to_gray(image)
        expected = {
            "gray": gray,
            "small": imaging.shrink(gray, 200),
            "colours": imaging.to_gray(imaging.shrink(image, 200)),
            "cut": imaging.crop(gray, box),
            "quarter": imaging.rotate90(gray, 1),
            "level": imaging.to_gray(imaging.crop_rotated(image, box, 23.0)),
            **{spec.denoise + spec.contrast: imaging.to_model_input(image, spec)[:, :, 0] for spec in specs},
        }
        assert set(found) == set(expected)
        for name, (wide, high, values) in found.items():
            assert (high, wide) == expected[name].shape, name
            pixels = np.frombuffer(base64.b64decode(values), np.uint8).reshape(high, wide)
            difference = np.abs(pixels - expected[name].astype(int))
            assert difference.max() <= {"level": 2, "noneclahe": 1, "medianclahe": 1}.get(name, 0), (name, width, height)
            assert difference.mean() < 0.05, (name, width, height)
        quality = measure(image)
        assert fitness["size"] == quality.size
        assert fitness["sharpness"] == pytest.approx(quality.sharpness, rel=1e-6)
        assert fitness["brightness"] == pytest.approx(quality.brightness, rel=1e-6)


def test_transparent_pixels_show_white_as_on_the_server(visit: Visit, drawn_face: UInt8Array) -> None:
    script = """
      const { pixelsOfFile } = await import("/web/device/decoding.js");
      const { toGray } = await import("/web/device/pixels.js");
      const { width, height, data } = toGray(await pixelsOfFile(new Blob([bytes(values.data)]), 1e7));
      return [width, height, text(data)];
    """
    alpha = np.full(drawn_face.shape[:2], 255, np.uint8)
    alpha[:200] = 0
    alpha[200:220] = 128
    ok, data = cv2.imencode(".png", np.dstack([drawn_face, alpha]))
    assert ok
    width, height, values = called(visit, script, data=np.frombuffer(bytes(data), np.uint8))
    pixels = np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width)
    np.testing.assert_allclose(pixels.astype(int), imaging.to_gray(imaging.decode(bytes(data))), atol=1)


def test_the_cascade_finds_the_same_boxes_as_opencv(visit: Visit, drawn_face: UInt8Array) -> None:
    script = """
      const { haarDetector } = await import("/web/device/haar.js");
      const { picture } = await import("/web/device/pixels.js");
      const detector = haarDetector(JSON.parse(values.cascade), { neighbours: 8, smallest: 24, longest_side: 640 });
      return detector.detect(picture(values.width, values.height, 4, bytes(values.data)));
    """
    image = crowd(drawn_face)
    for small in (image, imaging.shrink(image, 500), imaging.shrink(image, 320)):
        height, width = small.shape[:2]
        rgba = np.dstack([small, np.full((height, width), 255, np.uint8)])
        found = called(visit, script, width=width, height=height, data=rgba, cascade=haar_cascade().decode())
        expected = HaarDetector().detect(small)
        assert len(expected) >= 2
        assert [face["box"] for face in found] == [pytest.approx(face.box_xyxy) for face in expected]
        assert [face["score"] for face in found] == pytest.approx([face.score for face in expected])


def test_centerface_is_read_as_on_the_server(visit: Visit) -> None:
    """The same outputs of the network give the same faces; the test of the page runs the network itself."""
    random = np.random.default_rng(5)
    rows, columns = 72, 96  # of a picture of 380x285
    ranges = ((1, 0, 0.355), (2, 1.5, 3), (2, -1, 1), (10, 0, 1))
    outputs = [random.uniform(low, high, (1, count, rows, columns)).astype(np.float32) for count, low, high in ranges]
    script = """
      const { centerFaceDetector } = await import("/web/device/centerface.js");
      const { picture } = await import("/web/device/pixels.js");
      const seen = [];
      const run = async (floats, dims) => {
        seen.push([dims, floats[0], floats[383], floats[384 * 288 + 1], floats[2 * 384 * 288 + 384]]);
        return Object.fromEntries(["537", "538", "539", "540"].map((name, i) => [name, { data: values.outputs[i] }]));
      };
      const detector = centerFaceDetector(run, values.facts);
      return [await detector.detect(picture(760, 570, 4, bytes(values.data))), seen[0]];
    """
    rgba = random.integers(0, 256, (570, 760, 4), dtype=np.uint8)
    facts = {**browser_files.detector_facts("centerface"), "longest_side": 380}
    lists = [values.ravel().tolist() for values in outputs]
    found, (dims, first, beyond, green, blue) = called(visit, script, data=rgba, facts=facts, outputs=lists)
    small = imaging.shrink(np.ascontiguousarray(rgba[:, :, :3]), 380)
    assert (dims, first, beyond, green, blue) == ([1, 3, 288, 384], small[0, 0, 0], 0, small[0, 1, 1], small[1, 0, 2])
    detector = CenterFaceDetector(longest_side=380)
    detector._session = SimpleNamespace(run=lambda names, values: outputs)
    expected = detector.detect(np.ascontiguousarray(rgba[:, :, :3]))
    assert len(expected) > 5
    for one, other in zip(found, expected, strict=True):
        assert one["box"] == pytest.approx(other.box_xyxy, rel=1e-6)
        assert one["framing"] == pytest.approx(other.framing_xyxy, rel=1e-6)
        assert one["score"] == pytest.approx(other.score)
        assert np.ravel(one["landmarks"]) == pytest.approx(np.ravel(other.landmarks), rel=1e-6)  # type: ignore[arg-type]


def test_faces_are_followed_and_smoothed_as_on_the_server(visit: Visit) -> None:
    random = np.random.default_rng(2)
    frames: list[tuple[float, list[tuple[float, float, float]], list[list[float]]]] = []
    for number in range(60):  # two that cross, one that is missed now and then
        time = number / 20 + float(random.uniform(0, 0.01))
        faces = [(50 + 6.0 * number, 100, 80), (400 - 5.0 * number, 130, 70), (200, 300, 60)][: 2 if 20 < number < 35 else 3]
        noisy = [tuple(float(value + random.normal(0, 1.5)) for value in face) for face in faces]
        frames.append((time, noisy, random.dirichlet(np.ones(7), 3).tolist()))  # type: ignore[arg-type]
    script = """
      const { Tracker, Smoother } = await import("/web/device/tracks.js");
      const tracker = new Tracker({ forget_seconds: 1.0, coast_seconds: 0.3 });
      const smoothers = new Map();
      return values.frames.map(([time, faces, rows]) => {
        const boxes = faces.map(([x, y, side]) => [x, y, x + side, y + side]);
        const found = boxes.map((box) => ({ box, framing: box, landmarks: [box.slice(0, 2)] }));
        return tracker.detected(found, time).map(({ track, face, detected }, i) => {
          if (!smoothers.has(track)) smoothers.set(track, new Smoother(0.5));
          return [track, detected, face.box, face.landmarks[0], smoothers.get(track).add(rows[i % 3], time)];
        });
      });
    """
    answers = called(visit, script, frames=frames)
    tracker, smoothers = FaceTracker(forget_seconds=1.0, coast_seconds=0.3), {}
    for (time, faces, rows), answer in zip(frames, answers, strict=True):
        boxes = [(x, y, x + side, y + side) for x, y, side in faces]
        known = tracker.detected([FaceBox(box, box, 1.0, ((box[0], box[1]),)) for box in boxes], time)
        assert [(track, detected) for track, detected, *_ in answer] == [(track, detected) for track, _, detected in known]
        for i, ((track, face, _), (_, _, box, mark, smoothed)) in enumerate(zip(known, answer, strict=True)):
            assert box == pytest.approx(face.box_xyxy, abs=1e-6)
            assert face.landmarks is not None
            assert mark == pytest.approx(face.landmarks[0], abs=1e-6)
            expected = smoothers.setdefault(track, ProbabilitySmoother(0.5)).add(rows[i % 3], time)
            assert smoothed == pytest.approx(expected, abs=1e-9)


def test_the_own_neutral_face_is_taken_as_on_the_server(visit: Visit) -> None:
    """Collected of the largest face, lost, found again alone, forgotten and taken anew."""
    random = np.random.default_rng(3)
    frames = []
    for number in range(120):
        tracks = {30 <= number < 40: [], 50 <= number < 65: [2], 80 <= number < 95: [3]}.get(True, [1, 2])
        action = {2: "collect", 70: "clear", 75: "collect"}.get(number)
        frames.append((number / 10, tracks, random.dirichlet(np.ones(7) / 3, len(tracks)).tolist(), action))
    script = """
      const { OwnNeutral } = await import("/web/device/neutral.js");
      const own = new OwnNeutral(values.facts, values.labels, 1.0);
      return values.frames.map(([time, tracks, rows, action]) => {
        if (action) own[action]();
        const owner = own.owner(new Map(tracks.map((track, i) => [track, rows[i]])), time);
        return [own.state, owner, owner === null ? null : own.relative(rows[tracks.indexOf(owner)])];
      });
    """
    facts = {"seconds": COLLECT_SECONDS, "tau": DEFAULT_TAU, "least": NEUTRAL_LEAST}
    found = called(visit, script, frames=frames, facts=facts, labels=EMOTIONS)
    own = OwnNeutral()
    owners = set()
    for (time, tracks, rows, action), (state, owner, relative) in zip(frames, found, strict=True):
        if action == "collect":
            own.collect("abc")
        elif action == "clear":
            own.clear()
        references = own.references(dict(zip(tracks, rows, strict=True)), time)
        assert (state, [] if owner is None else [owner]) == (own.state, list(references)), time
        if owner is not None:
            assert relative == pytest.approx(references[owner].relative(rows[tracks.index(owner)]))
        owners.add(owner)
    assert owners >= {None, 1, 2}


def test_the_hidden_markov_model_joins_answers_as_on_the_server(visit: Visit) -> None:
    random = np.random.default_rng(2)
    answers = [(float(time), random.dirichlet(np.ones(7)).tolist()) for time in np.cumsum(random.uniform(0, 0.4, 50))]
    script = """
      const { EmotionFilter } = await import("/web/device/tracks.js");
      const filter = new EmotionFilter(values.facts);
      return values.answers.map(([time, row]) => filter.add(row, time));
    """
    facts = {"dwell_seconds": 2.0, "evidence_seconds": EVIDENCE_SECONDS, "least": MIN_PROBABILITY}
    known = EmotionFilter(2.0)
    for (time, row), joined in zip(answers, called(visit, script, answers=answers, facts=facts), strict=True):
        assert joined == pytest.approx(known.add(row, time), abs=1e-9)


def test_the_pose_of_a_face_is_that_of_the_server(visit: Visit) -> None:
    marks = [tuple(map(tuple, np.random.default_rng(seed).uniform(0, 100, (5, 2)).tolist())) for seed in range(20)]
    script = """
      const { poseOf } = await import("/web/device/recognizer.js");
      return values.marks.map((mark) => poseOf(mark, values.nose));
    """
    for mark, pose in zip(marks, called(visit, script, marks=marks, nose=NOSE_LENGTH), strict=True):
        expected = FacePose.of(FaceBox((0, 0, 1, 1), (0, 0, 1, 1), 1.0, mark))
        assert pose == pytest.approx(dataclasses.asdict(expected))  # type: ignore[call-overload]


def test_the_heat_map_is_that_of_the_server(visit: Visit, brightness_model: Path) -> None:
    """The heat map weighs the parts of a face as on the server."""
    classifier = LoadedModel.read(brightness_model).recognizer.classifier
    face = imaging.resize_face(imaging.to_gray(pictures()[0]))
    top = int(np.argmax(classifier.probabilities(face[np.newaxis, :, :, np.newaxis])[0]))
    script = """
      const { Recognizer } = await import("/web/device/recognizer.js");
      const facts = { labels: values.labels, temperature: 2, uncertain_below: 0.4, model: {}, quality: {},
        image_spec: { version: 1, size: 48, denoise: "none", contrast: "none", crop_scale: 1 } };
      const logits = async (inputs) => inputs.flatMap(({ data }) => {
        const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
        return values.labels.map((_, i) => -Math.abs(mean - (20 + 35 * i)) / 10);
      });
      const recognizer = new Recognizer(facts, null, logits);
      await recognizer.recognizeFace({ width: 48, height: 48, channels: 1, data: bytes(values.face) });
      return Array.from((await recognizer.explained(1)).importance);
    """
    importance = called(visit, script, face=face, labels=list(EMOTIONS))
    expected = occlusion_maps(face[:, :, np.newaxis], classifier.probabilities)[top]
    assert np.abs(np.array(importance).reshape(48, 48) - expected).max() < 1e-3
    assert emotion_index(EMOTIONS[top]) == top


def test_the_surest_turn_of_a_face_decides(visit: Visit) -> None:
    """Of the turns in which a face is found the surest decides."""
    script = """
      const { Recognizer } = await import("/web/device/recognizer.js");
      const facts = { labels: values.labels, temperature: 1, uncertain_below: 0, model: {}, quality: {}, level_degrees: 15,
        detector: { upright: { min_score: 0 } },
        image_spec: { version: 1, size: 48, denoise: "none", contrast: "none", crop_scale: 1 } };
      const box = [2, 2, 20, 20];
      const face = (score) => ({ box, framing: box, score, landmarks: null });
      const answers = [[], [face(0.8)], [], [face(0.9)]];
      const detector = { detect: async () => answers.shift() };
      const recognizer = new Recognizer(facts, detector, async (inputs) => inputs.flatMap(() => values.labels.map((_, i) => i)));
      const faces = await recognizer.recognize({ width: 30, height: 30, channels: 1, data: new Uint8Array(900) });
      return faces.map((face) => [face.rotation, face.detection_score]);
    """
    assert called(visit, script, labels=list(EMOTIONS)) == [[270, 0.9]]
