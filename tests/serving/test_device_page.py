"""The page that looks at pictures on the person's own device, in a real Chromium: it answers as the server, and sends nothing."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from fer_pipeline import imaging
from fer_pipeline.imaging import ImageSpec, UInt8Array, encode_png
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.pretrained import model_folder
from fer_pipeline.inference.quality import NOSE_LENGTH, FacePose, measure
from fer_pipeline.inference.saliency import occlusion_maps
from fer_pipeline.inference.smoothing import EVIDENCE_SECONDS, MIN_PROBABILITY, EmotionFilter, ProbabilitySmoother
from fer_pipeline.inference.tracking import FaceTracker
from fer_pipeline.labels import EMOTIONS, emotion_index
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.routes.browser_files import haar_cascade
from tests.serving.browsing import NEEDS_CHROMIUM, Site, Visit, chromium

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]

BYTES = """
  const bytes = (text) => Uint8ClampedArray.from(atob(text), (letter) => letter.charCodeAt(0));
  const text = (data) => btoa(Array.from(data, (value) => String.fromCharCode(value)).join(""));
"""
LOADED = "document.getElementById('loaded').textContent.includes('is loaded')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("camera"), drawn_face) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With the shipped model."""
    made = Site(model_folder("fast"), tmp_path_factory.mktemp("videos"))
    yield made
    made.close()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Visit]:
    made = Visit(browser, site.address)
    yield made
    made.close()


@pytest.fixture
def here(visit: Visit) -> Visit:
    """A page that has loaded the model."""
    visit.page.check("#where-device")
    visit.wait(LOADED)
    return visit


def asked_of(model: Path, browser: Any, tmp_path: Path, before: str = "") -> str:
    """What the page says when this model is asked for on the device."""
    site = Site(model, tmp_path / "videos")
    visit = Visit(browser, site.address, before=before)
    visit.page.check("#where-device")
    visit.wait("!error.hidden")
    words = visit.words("error")
    visit.close()
    site.close()
    return words


def pictures() -> list[UInt8Array]:
    """RGB pictures of many sizes: smooth shapes with some noise."""
    random = np.random.default_rng(0)
    made = []
    for width, height in ((320, 240), (223, 301), (96, 96), (97, 101), (48, 48), (30, 47), (20, 20), (47, 90)):
        coarse = random.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
        made.append(np.clip(smooth + random.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8))
    return made


def crowd(face: UInt8Array) -> UInt8Array:
    """RGB (700, 1200, 3): the drawn face in several sizes, tints and angles, on a background with some structure."""
    head = face[90:310, 190:410]
    canvas = np.asarray(cv2.GaussianBlur(np.random.default_rng(1).integers(60, 200, (700, 1200, 3), dtype=np.uint8), (0, 0), 4))
    for x, y, side, degrees, tint in (
        (40, 60, 300, 0, 1.0),
        (420, 200, 120, 6, 0.8),
        (640, 90, 220, -7, 1.15),
        (950, 300, 90, 0, 0.7),
    ):
        turned = cv2.warpAffine(
            head, cv2.getRotationMatrix2D((110, 110), degrees, 1.0), (220, 220), borderMode=cv2.BORDER_REPLICATE
        )
        small = cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA)
        canvas[y : y + side, x : x + side] = np.clip(small * np.array([tint, 1.0, 2 - tint]), 0, 255)
    return canvas


def called(visit: Visit, script: str, **values: Any) -> Any:
    """The result of an asynchronous function of `values`, in which arrays are base64 text."""
    plain = {k: base64.b64encode(v.tobytes()).decode() if isinstance(v, np.ndarray) else v for k, v in values.items()}
    return visit.page.evaluate(f"async (values) => {{ {BYTES} {script} }}", plain)


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


def test_a_picture_is_answered_as_by_the_server_and_nothing_is_asked_for(here: Visit, site: Site, drawn_face: UInt8Array) -> None:
    recognizer = site.state.recognizer
    before = (len(site.asked), len(here.asked))
    script = """
      const { predictHere } = await import("/web/device.js");
      return predictHere(new Blob([bytes(values.data)], { type: "image/png" }), values.framing);
    """
    image = crowd(drawn_face)
    lying = np.ascontiguousarray(np.rot90(drawn_face, 3))
    before = (len(site.asked), len(here.asked))
    for picture, framing in (
        (image, "auto"),
        (lying, "auto"),
        (drawn_face[100:300, 200:400], "face"),
        (np.zeros_like(lying), "auto"),
    ):
        answer = called(here, script, data=np.frombuffer(encode_png(picture), np.uint8), framing=framing)
        faces = recognizer.recognize(picture) if framing == "auto" else [recognizer.recognize_face(picture)]
        assert answer["picture"] == {"width": picture.shape[1], "height": picture.shape[0]}
        assert len(answer["faces"]) == len(faces)
        for found, face in zip(answer["faces"], faces, strict=True):
            expected = face.as_dict()
            assert list(found["probabilities"]) == list(EMOTIONS)
            assert list(found["probabilities"].values()) == pytest.approx(face.probabilities, abs=1e-3)
            for name in ("emotion", "top_emotion", "reasons"):
                assert found[name] == expected[name]
            assert found.get("rotation", 0) == face.rotation
            assert found["box"] == (expected["box"] and pytest.approx(expected["box"], abs=0.051))
            assert found["quality"] == pytest.approx(expected["quality"], rel=2e-3, abs=0.06)
    assert answer["faces"] == []
    assert (len(site.asked), len(here.asked)) == before


def test_the_whole_page_works_without_asking_the_server_for_anything(here: Visit, site: Site, drawn_face: UInt8Array) -> None:
    page = here.page
    before = len(site.asked)
    page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)})
    page.wait_for_selector("#boxes .box")
    (face,) = site.state.recognizer.recognize(drawn_face)
    assert here.words("status") == f"1 face found; face 1: {face.emotion}."
    page.click(".explain")
    here.wait("document.querySelector('.heat img')?.naturalWidth === 336")
    page.click("#tab-camera")
    assert "stay in this browser" in page.inner_text("#before")
    assert page.is_disabled("#start")
    page.check("#consent")
    page.click("#start")
    page.wait_for_selector("#now table")
    here.wait("document.getElementById('status').textContent.startsWith('Person ')")
    here.wait("overlay.getContext('2d').getImageData(0, 0, overlay.width, overlay.height).data.some((value) => value)")
    assert "Nothing leaves this browser" in page.inner_text(".where")
    page.click("#stop")
    assert page.evaluate("live.srcObject") is None
    assert len(site.asked) == before
    assert [url for url in here.asked if url.startswith("blob:")]  # the picture and the heat map, from the page itself


def test_the_heat_map_weighs_the_parts_of_a_face_as_on_the_server(visit: Visit, brightness_model: Path) -> None:
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


def test_of_the_turns_in_which_a_face_is_found_the_surest_decides(visit: Visit) -> None:
    script = """
      const { Recognizer } = await import("/web/device/recognizer.js");
      const facts = { labels: values.labels, temperature: 1, uncertain_below: 0, model: {}, quality: {}, level_degrees: 15,
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


def test_the_choice_is_remembered_and_loads_only_when_it_is_this_device(browser: Any, site: Site) -> None:
    start = len(site.asked)
    visit = Visit(browser, site.address)
    visit.wait("document.querySelectorAll('#facts dt').length > 5")
    assert not [path for path in site.asked[start:] if "vendor" in path or "/model/" in path]
    visit.page.focus("#where-server")
    visit.page.keyboard.press("ArrowRight")  # a radio group, by keyboard
    visit.wait(LOADED)
    fingerprint = site.state.recognizer.info.fingerprint
    assert visit.words("loaded") == f"The model is loaded: compact {fingerprint}."
    visit.page.reload()
    visit.wait(LOADED)
    assert visit.page.is_checked("#where-device")
    visit.page.check("#where-server")
    start = len(site.asked)
    visit.page.reload()
    visit.wait("document.querySelectorAll('#facts dt').length > 5")
    assert visit.page.is_checked("#where-server")
    assert not [path for path in site.asked[start:] if "vendor" in path or "/model/" in path]
    visit.close()


def test_what_was_shown_to_the_device_is_not_sent_when_the_server_is_chosen(
    here: Visit, site: Site, drawn_face: UInt8Array
) -> None:
    page = here.page
    before = len(site.asked)
    page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)})
    page.wait_for_selector("#boxes .box")
    page.check("#where-server")
    assert not page.is_visible("#result")
    page.check("#whole")  # would look again at the picture on the page
    page.wait_for_timeout(200)
    assert len(site.asked) == before


def test_a_video_is_not_sent_while_this_device_is_chosen(here: Visit, site: Site) -> None:
    here.page.click("#tab-video")
    before = len(site.asked)
    assert not here.page.is_visible("label:has(#video-file)")
    here.page.set_input_files("#video-file", {"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"film"})
    here.wait("!error.hidden")
    assert here.words("error").startswith("Videos are looked at on the server only")
    assert len(site.asked) == before


def test_a_file_that_is_no_picture_is_named_and_the_next_one_is_read(here: Visit, drawn_face: UInt8Array) -> None:
    here.page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"hello"})
    here.wait("!error.hidden")
    assert here.words("error") == "This file is no picture that your browser reads."
    here.page.set_input_files("#file", {"name": "face.png", "mimeType": "image/png", "buffer": encode_png(drawn_face)})
    here.page.wait_for_selector("#boxes .box")


def test_a_browser_without_webassembly_is_told_so(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    words = asked_of(brightness_model, browser, tmp_path, "delete globalThis.WebAssembly")
    assert words.startswith("This browser has no WebAssembly, or it is switched off.")


def test_a_model_that_needs_what_the_page_lacks_is_refused_by_name(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(brightness_model, tmp_path / "denoised"))
    dataclasses.replace(ModelInfo.read(model), image_spec=ImageSpec(denoise="nlm")).write(model)
    words = asked_of(model, browser, tmp_path)
    assert words.startswith("The network brightness cannot run on this device: its faces are denoised by “nlm”")


def test_a_network_that_does_not_run_in_the_browser_is_named(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    site = Site(brightness_model, tmp_path / "videos")
    network = onnx.load(brightness_model / MODEL_FILE)
    network.graph.node[1].op_type = "Unheard"
    onnx.save(network, tmp_path / MODEL_FILE)
    info = dataclasses.replace(site.state.recognizer.info, network="strange", sha256=file_sha256(tmp_path / MODEL_FILE))
    site.state.recognizer.classifier.info = info
    site.state.model_files = dataclasses.replace(
        site.state.model_files,
        files=((MODEL_FILE, (tmp_path / MODEL_FILE).read_bytes()), ("model.json", json.dumps({}).encode())),
    )
    visit = Visit(browser, site.address)
    visit.page.check("#where-device")
    visit.wait("!error.hidden")
    assert visit.words("error").startswith("The network strange cannot run on this device: ")
    assert visit.words("loaded") == "The model is not loaded."
    visit.close()
    site.close()


def test_a_server_that_is_gone_while_the_model_loads_is_named(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    site = Site(brightness_model, tmp_path / "videos")
    visit = Visit(browser, site.address)
    visit.wait("document.querySelectorAll('#facts dt').length > 5")
    visit.page.route("**/model/network", lambda route: route.abort())
    visit.page.check("#where-device")
    visit.wait("!error.hidden")
    assert visit.words("error") == "The server cannot be reached."
    visit.page.unroute("**/model/network")
    visit.page.check("#where-server")
    visit.page.check("#where-device")
    visit.wait(LOADED)
    visit.complaints = [line for line in visit.complaints if "ERR_FAILED" not in line]
    visit.close()
    site.close()


def test_the_page_takes_the_token_before_it_gets_the_model(browser: Any, brightness_model: Path, tmp_path: Path) -> None:
    site = Site(brightness_model, tmp_path / "videos", token="s3cret")
    visit = Visit(browser, site.address)
    visit.page.check("#where-device")
    visit.page.wait_for_selector("#token[open]")
    visit.page.fill("#token-value", "s3cret")
    visit.page.click("#token button[value=send]")
    visit.wait(LOADED)
    visit.complaints = [line for line in visit.complaints if "401" not in line]
    visit.close()
    site.close()


def test_a_phone_shows_the_choice_without_scrolling_sideways(here: Visit) -> None:
    here.page.set_viewport_size({"width": 360, "height": 740})
    for tab in ("picture", "video", "camera"):
        here.page.click(f"#tab-{tab}")
        assert here.page.is_visible("#where-device")
        assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
