"""What people say of answers, in a folder that the service writes and the `fer feedback` commands read. Does file I/O.

Each correction is one file: it appears, moves and goes as a whole, so that any number of processes can share the folder. A
picture lies nowhere but in its correction's file, and goes with it.

    pending/<id>.json     waits for review, until it expires
    accepted/<id>.json    its picture became training data; kept without the picture, so that the receipt stays good
    withdrawn/<id>.json   accepted before the person asked to delete it; `fer feedback purge` takes the picture out of the data
    key                   what the service signs its tokens with
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from fer_pipeline.errors import FeedbackError, ToolUnavailableError
from fer_pipeline.labels import EMOTIONS

INBOX_VARIABLE: Final = "FER_FEEDBACK"

State = Literal["pending", "accepted", "withdrawn"]
STATES: Final[tuple[State, ...]] = ("pending", "accepted", "withdrawn")

_SUFFIX, _ASIDE = ".json", ".new"
_STALE_SECONDS = 3600  # after which a file that is still aside belongs to a process that was killed
_DAMAGED = timedelta(days=30)  # after its last change, a file that does not say when it expires is deleted


@dataclass(frozen=True)
class Correction:
    """What a person says of one answer.

    `id`, 32 hex digits, is the person's receipt. `time` and `expires` are aware. `answered` is the label of the answer or
    "uncertain", `confidence` in 0..1 the probability of its most probable label, `version` the fingerprint of the model of
    that `network`; `corrected` is what the person says. `sender` is equal for corrections of one address on one day and says
    nothing else. With the person's consent `picture` is the face, a PNG of 48x48 gray pixels, and `size` the side in pixels of
    the face in the picture that was sent; else both are None.
    """

    id: str
    time: datetime
    expires: datetime
    network: str
    version: str
    answered: str
    confidence: float
    corrected: str
    sender: str
    picture: bytes | None = None
    size: float | None = None

    def __post_init__(self) -> None:
        if not is_receipt(self.id) or self.time.tzinfo is None or self.expires.tzinfo is None or self.corrected not in EMOTIONS:
            raise ValueError(f"id {self.id!r}, times {self.time} and {self.expires}, label {self.corrected!r} do not fit")


class Corrections:
    """A folder of corrections. Nothing is made before something is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self) -> bytes:
        """32 random bytes, made once. Raises `ToolUnavailableError` where the folder cannot be written."""
        place = self.folder / "key"
        if not place.exists():
            self._create(place, secrets.token_bytes(32))
        return place.read_bytes()

    def put(self, correction: Correction) -> bool:
        """Adds a pending correction; false where there is one of this id already. Raises `ToolUnavailableError`."""
        if self.knows(correction.id):
            return False
        return self._create(self._place("pending", correction.id), _encoded(correction))

    def count(self, state: State) -> int:
        """How many there are."""
        return sum(1 for _ in self._files(state))

    def knows(self, receipt: str) -> bool:
        """Whether there is a correction with this receipt, whatever its state."""
        return is_receipt(receipt) and any(self._place(state, receipt).exists() for state in STATES)

    def read(self, state: State) -> tuple[list[Correction], list[str]]:
        """Those of a state, oldest first, and the names of the files that cannot be read."""
        found, damaged = [], []
        for file in self._files(state):
            try:
                found.append(_decoded(file.read_bytes()))
            except FileNotFoundError:  # it has moved on
                continue
            except (OSError, ValueError, KeyError, TypeError):
                damaged.append(file.relative_to(self.folder).as_posix())
        return sorted(found, key=lambda correction: (correction.time, correction.id)), sorted(damaged)

    def accept(self, correction: Correction) -> None:
        """Notes that the picture of a pending correction is now kept elsewhere, and forgets it here.

        One that was deleted meanwhile counts as withdrawn.
        """
        self._create(self._place("accepted", correction.id), _encoded(replace(correction, picture=None)))
        if not _unlinked(self._place("pending", correction.id)):
            self._withdraw(correction.id)

    def delete(self, receipt: str) -> Literal["deleted", "withdrawn", "unknown"]:
        """Deletes a pending correction; marks one that was accepted as withdrawn, which only the data's owner can carry out."""
        if not is_receipt(receipt):
            return "unknown"
        deleted = _unlinked(self._place("pending", receipt))
        self._withdraw(receipt)
        return "withdrawn" if self._place("withdrawn", receipt).exists() else "deleted" if deleted else "unknown"

    def forget(self, receipt: str) -> None:
        """Removes what is noted of an id, whatever its state, once its picture is nowhere any more."""
        for state in STATES:
            self._place(state, receipt).unlink(missing_ok=True)

    def expire(self, now: datetime) -> int:
        """Deletes the pending corrections whose time is over, and returns how many they were."""
        for aside in self.folder.glob(f"*/.*{_ASIDE}"):
            with suppress(FileNotFoundError):
                if time.time() - aside.stat().st_mtime > _STALE_SECONDS:
                    aside.unlink()
        expired = 0
        for file in self._files("pending"):
            with suppress(FileNotFoundError):
                if _expiry(file) <= now:
                    file.unlink()
                    expired += 1
        return expired

    def _withdraw(self, receipt: str) -> None:
        accepted, withdrawn = self._place("accepted", receipt), self._place("withdrawn", receipt)
        if accepted.exists():
            withdrawn.parent.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # another process was faster
                os.replace(accepted, withdrawn)

    def _files(self, state: State) -> Iterator[Path]:
        return (self.folder / state).glob(f"[!.]*{_SUFFIX}")

    def _place(self, state: State, receipt: str) -> Path:
        if not is_receipt(receipt):
            raise FeedbackError(f"{receipt!r} is no receipt, expected 32 hex digits")
        return self.folder / state / f"{receipt}{_SUFFIX}"

    def _create(self, target: Path, content: bytes) -> bool:
        """Writes a file that must not be there yet, at once and for its owner's eyes only; false where it is there."""
        aside = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_ASIDE}")
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(content)
            try:
                os.link(aside, target)
            except FileExistsError:
                return False
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise ToolUnavailableError(
                f"{target.parent} cannot be written ({error.strerror}): free space, change its owner, or name another folder"
            ) from error
        return True


def is_receipt(text: str) -> bool:
    """Whether a text has the form of an id; nothing else may become a file's name."""
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text)


def _encoded(correction: Correction) -> bytes:
    values = asdict(correction)
    values["time"], values["expires"] = correction.time.isoformat(), correction.expires.isoformat()
    values["picture"] = None if correction.picture is None else base64.b64encode(correction.picture).decode()
    return json.dumps(values).encode()


def _decoded(content: bytes) -> Correction:
    values = json.loads(content)
    values["time"], values["expires"] = (datetime.fromisoformat(values[name]) for name in ("time", "expires"))
    values["picture"] = None if values["picture"] is None else base64.b64decode(values["picture"], validate=True)
    return Correction(**values)


def _expiry(file: Path) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(file.read_bytes())["expires"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError):
        return datetime.fromtimestamp(file.stat().st_mtime, UTC) + _DAMAGED


def _unlinked(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
