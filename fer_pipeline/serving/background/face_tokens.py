"""Signed tokens that say what was answered for one face, so that a correction needs no memory of the answer in the service."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass

from fer_pipeline.imaging import UInt8Array, content_hash, resize_face, to_gray
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.serving.http.uploads import RefusedError

TOKEN_SECONDS = 3600
"""How long an answer can be corrected."""

MAX_CHARACTERS = 1000
"""Longest token that is read; the service's own have about 400."""


@dataclass(frozen=True)
class AnsweredFace:
    """One face of an answer. `receipt` names this answer alone, `time` is in seconds since 1970, `face` the content hash of
    the face at 48x48; the rest is as in `monitoring.corrections.Correction`.
    """

    receipt: str
    time: float
    network: str
    version: str
    answered: str
    confidence: float
    face: str


def gray_face(cut: UInt8Array) -> UInt8Array:
    """Gray uint8 (48, 48) of what was cut out for a face, before the model's own denoising and contrast."""
    return resize_face(to_gray(cut))


class FaceTokens:
    """Makes tokens, and reads those that it or another one with the same key has made."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, info: ModelInfo, face: FaceEmotion, gray: UInt8Array) -> str:
        """A token for a face that was just answered, and its gray uint8 (48, 48)."""
        facts = AnsweredFace(
            receipt=secrets.token_hex(16),
            time=round(time.time(), 1),
            network=info.network,
            version=info.fingerprint,
            answered=face.emotion,
            confidence=round(max(face.probabilities), 6),
            face=content_hash(gray),
        )
        body = _text(json.dumps(asdict(facts), separators=(",", ":")).encode())
        return f"{body}.{self._signature(body)}"

    def read(self, token: str) -> AnsweredFace:
        """What the token says. Raises `RefusedError` where it was not made with this key, or its time is over."""
        body, _, signature = token.partition(".")
        if len(token) > MAX_CHARACTERS or not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise RefusedError(422, "bad_token", "the token is not one of this service: send `feedback` of a face of /predict")
        facts = AnsweredFace(**json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
        if time.time() - facts.time > TOKEN_SECONDS:
            raise RefusedError(
                422, "token_expired", f"the answer is older than {TOKEN_SECONDS // 60} minutes: ask /predict again"
            )
        return facts

    def _signature(self, body: str) -> str:
        return _text(hmac.digest(self._key, b"face " + body.encode(), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
