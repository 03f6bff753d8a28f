"""Routes for corrections: store one, with the face on consent, and delete it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from fer_pipeline.errors import ImageError
from fer_pipeline.feedback.corrections import INBOX_VARIABLE
from fer_pipeline.imaging import UInt8Array, content_hash
from fer_pipeline.inference.face_emotion import UNCERTAIN, FaceEmotion
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.serving.background.face_tokens import AnsweredFace, gray_face
from fer_pipeline.serving.background.feedback_inbox import FeedbackInbox
from fer_pipeline.serving.http.auth import require_token
from fer_pipeline.serving.http.schemas import DeletedCorrection, StoredCorrection, refusals
from fer_pipeline.serving.http.uploads import RefusedError, read_form
from fer_pipeline.serving.routes.pictures import Framing
from fer_pipeline.serving.state import ServiceState

router = APIRouter(prefix="/feedback", dependencies=[Depends(require_token)], tags=["feedback"])

_TEXTS = ("token", "correction", "consent")
_SCHEMA = {
    "type": "object",
    "required": ["token", "correction"],
    "additionalProperties": False,
    "properties": {
        "token": {"type": "string", "description": "`feedback` of the face in the answer of /predict"},
        "correction": {"type": "string", "enum": list(EMOTIONS), "description": "what the face shows"},
        "consent": {"type": "string", "enum": ["true", "false"], "description": "`true`, with a picture: the face may be stored"},
        "picture": {"type": "string", "format": "binary", "description": "the very picture that was answered, only with consent"},
    },
}
_CURL = "curl --form token=$TOKEN --form correction=sad {} http://127.0.0.1:3000/feedback"
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _SCHEMA,
                "examples": {
                    "labels alone": {
                        "summary": _CURL.format(""),
                        "value": {"token": "eyJyZWNlaXB0Ijoi...", "correction": "sad"},
                    },
                    "with the face": {
                        "summary": _CURL.format("--form consent=true --form picture=@portrait.jpg"),
                        "value": {
                            "token": "eyJyZWNlaXB0Ijoi...",
                            "correction": "sad",
                            "consent": "true",
                            "picture": "(the bytes of portrait.jpg)",
                        },
                    },
                },
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=StoredCorrection,
    responses=refusals(400, 401, 403, 408, 409, 413, 415, 422, 429),
    openapi_extra=_FORM,
)
async def correct(request: Request, framing: Framing = "auto") -> Any:
    """Store a correction of one face: both labels, the model and the time.

    With `consent=true` and the same picture and framing as in the request that was answered, the face is stored as well, cut
    out and brought to 48x48 gray pixels, until it is reviewed or expires; the rest of the picture is not. Each answer can be
    corrected once; the receipt `id` takes a correction back.
    """
    service: ServiceState = request.app.state.service
    inbox = _inbox(service)
    with service.admission.upload(request):
        texts, picture = await read_form(request, _TEXTS, "picture")
        said, emotion = _said(inbox, texts)
        _check_consent(texts.get("consent", "false"), picture)
        address = request.client.host if request.client else ""
        stored = await service.admission.run(
            request,
            lambda: inbox.take(said, emotion, address, None if picture is None else _face(service, picture, framing, said)),
        )
    return {"id": stored.id, "corrected": emotion, "picture": stored.picture is not None, "expires": stored.expires}


@router.delete("/{receipt}", response_model=DeletedCorrection, responses=refusals(401, 403, 404, 429))
async def delete(request: Request, receipt: Annotated[str, Path(description="`id` of the correction")]) -> Any:
    """Delete a correction at once.

    One whose face is training data already is taken out of it by the operator.
    """
    service: ServiceState = request.app.state.service
    inbox = _inbox(service)
    return {"id": receipt, "state": await service.admission.run(request, lambda: inbox.delete(receipt))}


def _inbox(service: ServiceState) -> FeedbackInbox:
    if service.feedback_inbox is None:
        raise RefusedError(403, "feedback_off", f"this service takes no corrections: its operator has not set {INBOX_VARIABLE}")
    return service.feedback_inbox


def _said(inbox: FeedbackInbox, texts: dict[str, str]) -> tuple[AnsweredFace, str]:
    for name in ("token", "correction"):
        if name not in texts:
            raise RefusedError(422, "missing_field", f"the field {name!r} is missing")
    emotion = texts["correction"]
    if emotion not in EMOTIONS:
        raise RefusedError(422, "unknown_emotion", f"correction is {emotion[:40]!r}, expected one of {', '.join(EMOTIONS)}")
    said = inbox.tokens.read(texts["token"])
    if emotion == said.answered != UNCERTAIN:
        raise RefusedError(422, "no_correction", f"{emotion!r} is what was answered: only another expression is a correction")
    return said, emotion


def _check_consent(consent: str, picture: bytes | None) -> None:
    if consent not in ("true", "false"):
        raise RefusedError(422, "unclear_consent", f"consent is {consent[:40]!r}, expected true or false")
    if consent == "false" and picture is not None:
        raise RefusedError(422, "no_consent", "a picture came without consent=true, and was not kept: send the labels alone")
    if consent == "true" and picture is None:
        raise RefusedError(422, "missing_picture", "consent=true came without a picture: attach the one that was answered")


def _face(service: ServiceState, data: bytes, framing: Framing, said: AnsweredFace) -> tuple[FaceEmotion, UInt8Array]:
    """The face of the answer, found anew, and its gray uint8 (48, 48)."""
    recognizer = service.recognizer
    try:
        image = service.decoder.decode(data)
    except ImageError as error:
        raise RefusedError(422, "undecodable_picture", str(error)) from error
    found = recognizer.recognize_cut(image) if framing == "auto" else [(recognizer.recognize_face(image), image)]
    for face, cut in found:
        gray = gray_face(cut)
        if content_hash(gray) == said.face:
            return face, gray
    raise RefusedError(
        422,
        "another_picture",
        "the face of the answer is not in this picture: send the very file, with the same framing; after a change of the model "
        "ask /predict again",
    )
