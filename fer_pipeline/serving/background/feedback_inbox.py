"""Store people's corrections of answers, and delete those that have expired."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.feedback.corrections import Correction, Corrections
from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.serving.background.face_tokens import AnsweredFace, FaceTokens
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.settings import ServiceSettings

_HOUR, _DAY = 3600, 86_400  # in seconds; within an hour somebody may have reviewed some, or cleared the disk

EXPIRY_SECONDS = 600.0
"""How often a service looks for corrections whose time is over."""

logger = logging.getLogger(__name__)


class FeedbackInbox:
    """Corrections taken in by one worker.

    Any number of workers may share the folder. Its methods may be called from any thread.
    """

    def __init__(self, folder: Path, settings: ServiceSettings, *, expiry_seconds: float = EXPIRY_SECONDS) -> None:
        """Raises `ToolUnavailableError` where the folder cannot be written."""
        self.settings = settings
        self._corrections = Corrections(folder)
        self._key = self._corrections.key()
        self.tokens = FaceTokens(self._key)
        self._sent: Counter[str] = Counter()
        self._day = date.min
        self._closing = Event()
        self._thread = Thread(target=self._expire, args=(expiry_seconds,), name="expiry of feedback", daemon=True)
        self._thread.start()

    def take(self, said: AnsweredFace, emotion: str, address: str, seen: tuple[FaceEmotion, UInt8Array] | None) -> Correction:
        """Store one correction.

        `seen` is the face found again and its gray uint8 (48, 48), where the person agrees to its storage.

        Raises `RefusedError` where this answer was corrected before, or too much came in already.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        correction = Correction(
            id=said.receipt,
            time=now,
            expires=now + timedelta(days=self.settings.feedback_days),
            network=said.network,
            version=said.version,
            answered=said.answered,
            confidence=said.confidence,
            corrected=emotion,
            sender=self._sender(address, now.date()),
            picture=encode_png(seen[1]) if seen else None,
            size=round(seen[0].quality.size, 1) if seen else None,
        )
        self._check_room(correction)
        try:
            new = self._corrections.put(correction)
        except ToolUnavailableError as error:
            logger.warning("a correction could not be stored: %s", error)
            raise RefusedError(429, "feedback_full", "there is no room for the correction; try again later", _HOUR) from error
        if not new:
            raise RefusedError(
                409, "corrected_already", f"this answer was corrected before: DELETE /feedback/{correction.id} takes that back"
            )
        self._sent[correction.sender] += 1
        metrics.FEEDBACK.labels("with_picture" if seen else "without_picture").inc()
        metrics.CORRECTIONS.labels(said.answered, emotion).inc()
        return correction

    def delete(self, receipt: str) -> Literal["deleted", "withdrawn"]:
        """Delete a correction, or note the wish where it is training data already.

        Raises `RefusedError` (404) where there is none.
        """
        outcome = self._corrections.delete(receipt)
        if outcome == "unknown":
            raise RefusedError(404, "correction_not_found", "there is no correction with this receipt, or not any more")
        metrics.FEEDBACK.labels(outcome).inc()
        return outcome

    def close(self) -> None:
        """Ends the watch on the corrections' time."""
        self._closing.set()
        self._thread.join(timeout=10)

    def _check_room(self, correction: Correction) -> None:
        if correction.time.date() != self._day:
            self._day = correction.time.date()
            self._sent.clear()
        if self._sent[correction.sender] >= self.settings.feedback_per_sender:
            words = f"at most {self.settings.feedback_per_sender} corrections a day are taken"
            raise RefusedError(429, "too_many_corrections", words, _DAY - int(correction.time.timestamp()) % _DAY)
        if self._corrections.count("pending") >= self.settings.feedback_most:
            raise RefusedError(429, "feedback_full", "too many corrections wait for review; try again later", _HOUR)

    def _sender(self, address: str, day: date) -> str:
        return hmac.digest(self._key, f"sender {day} {address}".encode(), hashlib.sha256).hex()[:12]

    def _expire(self, seconds: float) -> None:
        while True:
            try:
                expired = self._corrections.expire(datetime.now(UTC))
            except OSError as error:
                logger.warning("expired corrections in %s could not be deleted: %s", self.settings.feedback, error)
            else:
                metrics.FEEDBACK.labels("expired").inc(expired)
            if self._closing.wait(seconds):
                return


def open_feedback_inbox(settings: ServiceSettings) -> FeedbackInbox | None:
    """Open the inbox; None where `FER_FEEDBACK` is not set.

    Addresses are those that uvicorn sees: behind a proxy on another machine, name it in `FORWARDED_ALLOW_IPS`. Raises
    `ToolUnavailableError` where the folder cannot be written.
    """
    return FeedbackInbox(settings.feedback, settings) if settings.feedback else None
