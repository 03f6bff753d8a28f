from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from itsdangerous import URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, base64_encode, bytes_to_int, int_to_bytes
from prometheus_client import REGISTRY

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.feedback.corrections import Correction, Corrections
from fer_pipeline.imaging import decode, encode_png, to_gray
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.serving.background import face_tokens
from fer_pipeline.serving.background.feedback_inbox import FeedbackInbox, open_feedback_inbox
from fer_pipeline.serving.settings import ServiceSettings
from tests.serving.asking import app_with, state_of

UInt8Array = npt.NDArray[np.uint8]

GRAY = np.full((48, 48), 125, np.uint8)
FACE = encode_png(GRAY)  # the brightness model answers happy
BITMAP = b"BM" + b"\0" * 100


class Service:
    """A service with a folder for corrections, and what a person does with it."""

    def __init__(self, model: Path, folder: Path | None, token: str | None = None, **settings: Any) -> None:
        self.state = state_of(Recognizer.load(model), token=token)
        self.state.feedback_inbox = FeedbackInbox(folder, ServiceSettings(**settings)) if folder else None
        self.client = TestClient(app_with(self.state), raise_server_exceptions=False)
        self.corrections = Corrections(folder or Path("nowhere"))

    def token(self, picture: bytes = FACE, framing: str = "face") -> str:
        faces = self.client.post(f"/predict?framing={framing}", files={"picture": picture}).json()["faces"]
        return str(faces[0]["feedback"])

    def correct(self, picture: bytes | None = None, framing: str = "face", **fields: str) -> httpx.Response:
        parts: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
        if picture is not None:
            parts["picture"] = ("x.png", picture)
        answer: httpx.Response = self.client.post(f"/feedback?framing={framing}", files=parts)
        return answer

    def close(self) -> None:
        if self.state.feedback_inbox:
            self.state.feedback_inbox.close()


@pytest.fixture
def service(brightness_model: Path, tmp_path: Path) -> Iterator[Service]:
    made = Service(brightness_model, tmp_path / "inbox")
    yield made
    made.close()


def fault(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_correction_without_consent_keeps_no_picture(service: Service, brightness_model: Path) -> None:
    """A correction without consent keeps the labels the model and the time alone."""
    before = datetime.now(UTC).replace(microsecond=0)
    answer = service.correct(token=service.token(), correction="sad")
    assert answer.status_code == 201
    ((stored,), damaged) = service.corrections.read("pending")
    assert not damaged
    info = ModelInfo.read(brightness_model)
    assert (stored.answered, stored.corrected, stored.network, stored.version) == ("happy", "sad", info.network, info.fingerprint)
    assert stored.picture is None
    assert stored.size is None
    assert before <= stored.time <= datetime.now(UTC)
    assert stored.expires == stored.time + timedelta(days=30)
    values = answer.json()
    assert (values["id"], values["corrected"], values["picture"]) == (stored.id, "sad", False)
    assert datetime.fromisoformat(values["expires"]) == stored.expires
    kept = b"".join(file.read_bytes() for file in service.corrections.folder.rglob("*.json"))
    assert b"testclient" not in kept  # the address


def test_with_consent_only_the_face_is_kept(service: Service, drawn_face: UInt8Array) -> None:
    """With consent the face is kept and nothing else of the picture."""
    picture = encode_png(drawn_face)
    token = service.token(picture, "auto")
    answer = service.correct(picture, "auto", token=token, correction="fear", consent="true")
    assert answer.json()["picture"] is True
    ((stored,), _) = service.corrections.read("pending")
    assert stored.picture is not None
    face = to_gray(decode(stored.picture))
    assert face.shape == (48, 48)
    assert stored.size == pytest.approx(168, abs=30)
    (file,) = (service.corrections.folder / "pending").iterdir()
    assert file.stat().st_size < 6_000 < len(picture)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_the_answer_of_a_batch_can_be_corrected_too(service: Service) -> None:
    items = service.client.post("/predict/batch?framing=face", files=[("pictures", FACE)] * 2).json()["pictures"]
    tokens = [item["faces"][0]["feedback"] for item in items]
    assert [service.correct(token=token, correction="sad").status_code for token in tokens] == [201, 201]


@pytest.mark.parametrize(
    ("fields", "picture", "expected"),
    [
        ({"correction": "sad"}, None, (422, "missing_field")),
        ({"token": "TOKEN"}, None, (422, "missing_field")),
        ({"token": "TOKEN", "correction": "bored"}, None, (422, "unknown_emotion")),
        ({"token": "TOKEN", "correction": "happy"}, None, (422, "no_correction")),  # what was answered
        ({"token": "TOKEN", "correction": "sad", "consent": "yes"}, FACE, (422, "unclear_consent")),
        ({"token": "TOKEN", "correction": "sad"}, FACE, (422, "no_consent")),
        ({"token": "TOKEN", "correction": "sad", "consent": "true"}, None, (422, "missing_picture")),
        ({"token": "TOKEN", "correction": "sad", "consent": "true"}, b"hello", (415, "unsupported_picture")),
        ({"token": "TOKEN", "correction": "sad", "consent": "true"}, BITMAP, (422, "undecodable_picture")),
        ({"token": "TOKEN", "correction": "sad", "consent": "true"}, encode_png(GRAY + 1), (422, "another_picture")),
        ({"token": "x" * 2000, "correction": "sad"}, None, (422, "bad_token")),
        ({"token": "TOKEN", "correction": "sad", "name": "me"}, None, (422, "unexpected_field")),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_kept(
    service: Service, fields: dict[str, str], picture: bytes | None, expected: tuple[int, str]
) -> None:
    token = service.token()
    answer = service.correct(picture, **{name: token if value == "TOKEN" else value for name, value in fields.items()})
    assert fault(answer) == expected
    assert service.corrections.count("pending") == 0


def later(stamp: str) -> str:
    return base64_encode(int_to_bytes(bytes_to_int(base64_decode(stamp)) + 60)).decode()


def test_a_forged_token_is_refused(service: Service) -> None:
    body, stamp, signature = service.token().rsplit(".", 2)
    own = URLSafeTimedSerializer(b"another key")
    answered = own.load_payload(body.encode())
    forged = own.dump_payload({**answered, "answered": "angry"}).decode()
    signed = own.dumps(answered)  # with another key
    for token in (
        f"{forged}.{stamp}.{signature}",
        f"{body}.{later(stamp)}.{signature}",
        signed,
        f"{body}.{stamp}.",
        f"{body}.",
        "",
        "täuschung",
    ):
        assert fault(service.correct(token=token, correction="sad")) == (422, "bad_token")


def test_an_old_answer_is_not_corrected_any_more(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    token = service.token()
    monkeypatch.setattr(face_tokens, "TOKEN_SECONDS", -1)
    assert fault(service.correct(token=token, correction="sad")) == (422, "token_expired")


def test_an_answer_is_corrected_once_until_that_is_taken_back(service: Service) -> None:
    token = service.token()
    receipt = service.correct(token=token, correction="sad").json()["id"]
    assert fault(service.correct(token=token, correction="fear")) == (409, "corrected_already")
    assert service.client.delete(f"/feedback/{receipt}").json() == {"id": receipt, "state": "deleted"}
    assert not [*service.corrections.folder.rglob("*.json")]
    assert fault(service.client.delete(f"/feedback/{receipt}")) == (404, "correction_not_found")
    assert service.correct(token=token, correction="fear").status_code == 201


@pytest.mark.parametrize("receipt", ["0" * 32, "key", "..%2fkey", "*"])
def test_an_unknown_receipt_deletes_nothing(service: Service, receipt: str) -> None:
    service.correct(token=service.token(), correction="sad")
    assert service.client.delete(f"/feedback/{receipt}").status_code == 404
    assert service.corrections.count("pending") == 1
    assert len(service.corrections.key()) == 32


def test_deleting_accepted_feedback_is_noted(service: Service) -> None:
    """Deleting what is training data already is noted for the operator."""
    receipt = service.correct(FACE, token=service.token(), correction="sad", consent="true").json()["id"]
    ((stored,), _) = service.corrections.read("pending")
    service.corrections.accept(stored)
    for _ in range(2):
        assert service.client.delete(f"/feedback/{receipt}").json() == {"id": receipt, "state": "withdrawn"}
    ((withdrawn,), _) = service.corrections.read("withdrawn")
    assert withdrawn.picture is None


def test_without_the_setting_feedback_is_refused(brightness_model: Path) -> None:
    """Without the setting there is no token and a clear refusal."""
    service = Service(brightness_model, None)
    answer = service.client.post("/predict?framing=face", files={"picture": FACE}).json()
    assert answer["faces"][0]["feedback"] is None
    assert service.client.get("/model").json()["feedback_days"] is None
    assert fault(service.correct(token="x", correction="sad")) == (403, "feedback_off")
    assert fault(service.client.delete(f"/feedback/{'0' * 32}")) == (403, "feedback_off")
    assert open_feedback_inbox(ServiceSettings()) is None


def test_one_address_and_all_together_are_bounded(brightness_model: Path, tmp_path: Path) -> None:
    to_midnight = 86_400 - datetime.now(UTC).timestamp() % 86_400
    for settings, code, seconds in (
        ({"feedback_per_sender": 1}, "too_many_corrections", to_midnight),
        ({"feedback_most": 1}, "feedback_full", 3600),
    ):
        service = Service(brightness_model, tmp_path / code, None, **settings)
        assert service.correct(token=service.token(), correction="sad").status_code == 201
        refused = service.correct(token=service.token(), correction="sad")
        assert fault(refused) == (429, code)
        assert float(refused.headers["Retry-After"]) == pytest.approx(seconds, abs=30)
        service.close()


def test_a_full_disk_is_said_and_the_service_goes_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_corrections: Corrections, _correction: Correction) -> bool:
        raise ToolUnavailableError("no space left on device")

    token = service.token()
    with monkeypatch.context() as patch:
        patch.setattr(Corrections, "put", full)
        assert fault(service.correct(token=token, correction="sad")) == (429, "feedback_full")
    assert service.correct(token=token, correction="sad").status_code == 201


def test_the_token_of_the_service_and_the_own_page_are_asked_for(brightness_model: Path, tmp_path: Path) -> None:
    service = Service(brightness_model, tmp_path, token="s3cret")
    assert fault(service.correct(token="x", correction="sad")) == (401, "unauthorized")
    assert fault(service.client.delete(f"/feedback/{'0' * 32}")) == (401, "unauthorized")
    foreign = {"Origin": "https://example.org", "Authorization": "Bearer s3cret"}
    assert fault(service.client.delete(f"/feedback/{'0' * 32}", headers=foreign)) == (403, "forbidden_origin")
    service.close()


def test_corrections_are_counted_by_what_was_answered_and_said(service: Service) -> None:
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = counted("fer_corrections_total", answered="happy", corrected="disgust")
    stored = counted("fer_feedback_total", outcome="without_picture")
    service.correct(token=service.token(), correction="disgust")
    assert counted("fer_corrections_total", answered="happy", corrected="disgust") == before + 1
    assert counted("fer_feedback_total", outcome="without_picture") == stored + 1


def test_what_has_expired_is_deleted_by_the_running_service(brightness_model: Path, tmp_path: Path) -> None:
    service = Service(brightness_model, tmp_path)
    service.correct(FACE, token=service.token(), correction="sad", consent="true")
    ((stored,), _) = service.corrections.read("pending")
    service.close()
    file = tmp_path / "pending" / f"{stored.id}.json"
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    file.write_text(file.read_text().replace(stored.expires.isoformat(), past))
    FeedbackInbox(tmp_path, ServiceSettings(), expiry_seconds=0.01).close()
    assert not file.exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A folder that cannot be written keeps the service from starting."""
    (tmp_path / "file").touch()
    with pytest.raises(ToolUnavailableError, match="cannot be written"):
        open_feedback_inbox(ServiceSettings(feedback=tmp_path / "file" / "inbox"))


def test_openapi_describes_the_form_with_examples(service: Service) -> None:
    operation = service.client.get("/openapi.json").json()["paths"]["/feedback"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]
    assert set(form["schema"]["properties"]) == {"token", "correction", "consent", "picture"}
    assert all("curl" in example["summary"] for example in form["examples"].values())
    assert {"201", "403", "409", "429"} <= set(operation["responses"])
