"""Signed tokens that name one answered face.

With them a correction needs no memory of answers in the service.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass

from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

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
    """One face of an answer.

    `receipt` names this answer alone, `face` is the content hash of the face at 48x48; the rest is as in
    `feedback.corrections.Correction`.
    """

    receipt: str
    network: str
    version: str
    answered: str
    confidence: float
    face: str


def gray_face(cut: UInt8Array) -> UInt8Array:
    """Convert a cut-out face to gray uint8 (48, 48).

    The model's denoising and contrast are not applied.
    """
    return resize_face(to_gray(cut))


class FaceTokens:
    """Issues tokens, and reads those that were issued with the same key."""

    def __init__(self, key: bytes) -> None:
        self._serializer = URLSafeTimedSerializer(
            key, salt=b"face", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )

    def issue(self, info: ModelInfo, face: FaceEmotion, gray: UInt8Array) -> str:
        """Sign a token for a face that was just answered, and its gray uint8 (48, 48)."""
        answered = AnsweredFace(
            receipt=secrets.token_hex(16),
            network=info.network,
            version=info.fingerprint,
            answered=face.emotion,
            confidence=round(max(face.probabilities), 6),
            face=content_hash(gray),
        )
        return str(self._serializer.dumps(asdict(answered)))

    def read(self, token: str) -> AnsweredFace:
        """Verify a token and return its content.

        Raises `RefusedError` (422) where it was not made with this key, or is older than `TOKEN_SECONDS`.
        """
        try:
            if len(token) > MAX_CHARACTERS:
                raise BadData("too long")
            return AnsweredFace(**self._serializer.loads(token, max_age=TOKEN_SECONDS))
        except SignatureExpired as error:
            minutes = TOKEN_SECONDS // 60
            raise RefusedError(422, "token_expired", f"the answer is older than {minutes} minutes: ask /predict again") from error
        except BadData as error:
            raise RefusedError(
                422, "bad_token", "the token is not one of this service: send `feedback` of a face of /predict"
            ) from error
