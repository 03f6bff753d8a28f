"""Routes for pictures: predictions, annotated pictures, occlusion maps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from fer_pipeline.errors import ImageError
from fer_pipeline.imaging import UInt8Array, encode_jpeg, encode_png, to_model_input
from fer_pipeline.inference.drawing import annotate
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.neutral.reference import NeutralReference
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.saliency import draw_heat_map, occlusion_maps
from fer_pipeline.labels import emotion_index
from fer_pipeline.serving.background.face_tokens import gray_face
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.http.auth import require_token
from fer_pipeline.serving.http.model_schemas import lineage, model_header
from fer_pipeline.serving.http.schemas import PICTURE_REFUSALS, BatchPrediction, Prediction
from fer_pipeline.serving.http.uploads import NEUTRAL_FIELD, RefusedError, check_signature, read_pictures, read_with_neutral
from fer_pipeline.serving.state import ServiceState

Framing = Literal["auto", "face"]

Seen = tuple[FaceEmotion, UInt8Array]
"""A face, and its gray uint8 (48, 48): all that a batch keeps of a picture until the last one is answered."""

router = APIRouter(dependencies=[Depends(require_token)], tags=["pictures"])


def _form(path: str, field: str, several: bool = False, neutral: bool = False) -> dict[str, Any]:
    file = {
        "type": "string",
        "format": "binary",
        "description": "JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF or BMP; of several frames the first",
    }
    schema: dict[str, Any] = {
        "type": "object",
        "required": [field],
        "additionalProperties": False,
        "properties": {field: {"type": "array", "items": file, "minItems": 1} if several else file},
    }
    if neutral:
        schema["properties"] |= {NEUTRAL_FIELD: {**file, "description": "the same person without an expression, one face"}}
    files = ["first.jpg", "second.png"] if several else ["portrait.jpg"]
    words = [f"(the bytes of {file})" for file in files]
    example = {
        "summary": "curl " + " ".join(f"--form {field}=@{file}" for file in files) + f" http://127.0.0.1:3000{path}",
        "value": {field: words if several else words[0]},
    }
    content: dict[str, Any] = {"multipart/form-data": {"schema": schema, "examples": {"curl": example}}}
    if not several:
        raw = {"summary": f"curl --data-binary @portrait.jpg http://127.0.0.1:3000{path}", "value": words[0]}
        content["application/octet-stream"] = {"schema": file, "examples": {"curl": raw}}
    return {"requestBody": {"required": True, "content": content}}


def _image(description: str, *kinds: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    named = {"X-Model": {"description": "Version in the registry, network and fingerprint.", "schema": {"type": "string"}}}
    answer = {"content": {kind: {"schema": schema} for kind in kinds}, "description": description, "headers": named}
    return {**PICTURE_REFUSALS, 200: answer}


@router.post(
    "/predict", response_model=Prediction, responses=PICTURE_REFUSALS, openapi_extra=_form("/predict", "picture", neutral=True)
)
async def predict(request: Request, framing: Framing = "auto") -> Any:
    """Recognize the faces of the picture in the form field `picture`, or in the body.

    With `framing=face` the whole picture is taken as one face. A form may have a picture of the same person without an
    expression in the field `neutral`, with one face: all faces are read relative to it, and say so in `neutral_reference`.
    """
    service: ServiceState = request.app.state.service
    with service.admission.upload(request):
        data, neutral = await read_with_neutral(request)
        return await service.admission.run(
            request,
            lambda: _timed(
                service,
                lambda recognizer: _noted(service, recognizer, [_predict(service, recognizer, data, framing, neutral=neutral)])[
                    0
                ],
            ),
        )


@router.post(
    "/predict/batch",
    response_model=BatchPrediction,
    responses=PICTURE_REFUSALS,
    openapi_extra=_form("/predict/batch", "pictures", several=True),
)
async def predict_batch(request: Request, framing: Framing = "auto") -> Any:
    """Recognize the faces of several pictures in form fields named `pictures`.

    One that cannot be read has an `error` in place of its faces.
    """
    service: ServiceState = request.app.state.service
    with service.admission.upload(request):
        batch = await read_pictures(request, "pictures", service.admission.limits.max_pictures, check=False)
        return await service.admission.run(
            request,
            lambda: _timed(
                service,
                lambda recognizer: {
                    "pictures": _noted(
                        service, recognizer, [_judge(service, recognizer, data, framing, n) for n, data in enumerate(batch, 1)]
                    )
                },
            ),
        )


@router.post(
    "/annotate",
    response_class=Response,
    responses=_image("The picture with boxes and emotions drawn in.", "image/jpeg", "image/png"),
    openapi_extra=_form("/annotate", "picture"),
)
async def annotated(
    request: Request, form: Annotated[Literal["jpeg", "png"], Query(alias="format", description="of the answer")] = "jpeg"
) -> Response:
    """Return the picture with boxes and emotions drawn in."""
    service: ServiceState = request.app.state.service
    with service.admission.upload(request):
        (data,) = await read_pictures(request, "picture", 1)
        recognizer = service.recognizer
        drawn = await service.admission.run(request, lambda: _annotate(service, recognizer, data, form))
        return Response(drawn, media_type=f"image/{form}", headers=model_header(recognizer))


@router.post(
    "/explain",
    response_class=Response,
    responses=_image(
        "The face as the network sees it; red speaks for the answer, blue against it. `X-Emotion` names the emotion.", "image/png"
    ),
    openapi_extra=_form("/explain", "picture"),
)
async def explain(
    request: Request,
    framing: Framing = "auto",
    face: Annotated[int, Query(ge=1, le=1000, description="number of the face in the order of /predict")] = 1,
) -> Response:
    """Return an occlusion sensitivity map of one face as PNG.

    Each part is covered in turn, and red is where the answer falls most.
    """
    service: ServiceState = request.app.state.service
    with service.admission.upload(request):
        (data,) = await read_pictures(request, "picture", 1)
        recognizer = service.recognizer
        png, emotion = await service.admission.run(request, lambda: _explain(service, recognizer, data, framing, face))
        return Response(png, media_type="image/png", headers={"X-Emotion": emotion, **model_header(recognizer)})


def _noted(
    service: ServiceState, recognizer: Recognizer, answers: list[tuple[list[Seen], dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Log and return the values of the answers.

    Only now: a batch of which a picture is refused is not answered.
    """
    faces = [face for seen, _ in answers for face in seen]
    if service.prediction_logger is not None:
        service.prediction_logger.note(recognizer.info, [face for face, _ in faces])
    if service.shadow is not None:
        service.shadow.offer(recognizer, faces)
    if service.feedback_inbox is not None:
        for seen, values in answers:
            for (face, gray), answered in zip(seen, values["faces"], strict=True):
                answered["feedback"] = service.feedback_inbox.tokens.issue(recognizer.info, face, gray)
    return [values for _, values in answers]


def _predict(
    service: ServiceState,
    recognizer: Recognizer,
    data: bytes,
    framing: Framing,
    number: int = 1,
    neutral: bytes | None = None,
) -> tuple[list[Seen], dict[str, Any]]:
    """Recognize the faces; `seen` are as read without the neutral picture."""
    start = time.perf_counter()
    reference = None if neutral is None else _reference(service, recognizer, neutral, framing)
    image = _decode(service, data, number)
    cuts = recognizer.recognize_cut(image) if framing == "auto" else [(recognizer.recognize_face(image), image)]
    seen = [(face, gray_face(cut)) for face, cut in cuts]
    faces = [face for face, _ in seen]
    metrics.count("picture", faces, time.perf_counter() - start)
    if reference is not None:
        faces = [recognizer.relative_to(reference, face) for face in faces]
    values = {"faces": [face.as_dict() for face in faces], "picture": {"width": image.shape[1], "height": image.shape[0]}}
    return seen, values


def _reference(service: ServiceState, recognizer: Recognizer, data: bytes, framing: Framing) -> NeutralReference:
    image = _decode(service, data, 2)
    if framing == "face":
        return NeutralReference.of([recognizer.recognize_face(image).probabilities], recognizer.info.fingerprint)
    try:
        return recognizer.reference(image)
    except ImageError as error:
        raise RefusedError(422, "unfit_neutral_picture", f"field {NEUTRAL_FIELD!r}: {error}") from error


def _judge(
    service: ServiceState, recognizer: Recognizer, data: bytes, framing: Framing, number: int
) -> tuple[list[Seen], dict[str, Any]]:
    """Predict one picture of a batch; a fault of the picture is its answer."""
    try:
        check_signature(data, number)
        return _predict(service, recognizer, data, framing, number)
    except RefusedError as error:
        if error.status == 429:  # not the picture's fault
            raise
        metrics.REFUSED.labels(error.code).inc()
        return [], {"faces": [], "picture": None, "error": {"code": error.code, "message": str(error)}}


def _annotate(service: ServiceState, recognizer: Recognizer, data: bytes, form: Literal["jpeg", "png"]) -> bytes:
    image = _decode(service, data)
    drawn = annotate(image, recognizer.recognize(image))
    return encode_png(drawn) if form == "png" else encode_jpeg(drawn)


def _explain(service: ServiceState, recognizer: Recognizer, data: bytes, framing: Framing, number: int) -> tuple[bytes, str]:
    image = _decode(service, data)
    if framing == "face":
        if number != 1:
            raise RefusedError(422, "face_not_found", f"there is one face, face {number} was asked for")
        answer, cut = recognizer.recognize_face(image), image
    else:
        found = recognizer.recognize_cut(image)
        if number > len(found):
            raise RefusedError(422, "face_not_found", f"{len(found)} face(s) found, face {number} was asked for")
        answer, cut = found[number - 1]
    seen = to_model_input(cut, recognizer.info.image_spec)
    importance = occlusion_maps(seen, recognizer.classifier.probabilities)[emotion_index(answer.top_emotion)]
    return encode_png(draw_heat_map(seen, importance)), answer.top_emotion


def _decode(service: ServiceState, data: bytes, number: int = 1) -> UInt8Array:
    try:
        return service.decoder.decode(data)
    except ImageError as error:
        raise RefusedError(422, "undecodable_picture", f"picture {number}: {error}") from error


def _timed(service: ServiceState, work: Callable[[Recognizer], dict[str, Any]]) -> dict[str, Any]:
    recognizer = service.recognizer  # read once: another model may take over any time, and the answer names the one that gave it
    start = time.perf_counter()
    values = work(recognizer)
    return {**values, "model": lineage(recognizer), "milliseconds": round(1000 * (time.perf_counter() - start), 2)}
