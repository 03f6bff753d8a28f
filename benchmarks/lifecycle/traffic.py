"""Send pictures to the service from several threads; count the answers."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from fer_pipeline.errors import ModelError

CLIENTS = 3
PAUSE_SECONDS = 0.15
"""Of each client between two requests: the cores are also needed for the training that goes on meanwhile."""


@dataclass
class Counted:
    """Counts of answers by model and of failures by kind."""

    by_model: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.by_model.total() + self.failures.total()


class Service:
    """The running service at an address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.Client(base_url=address, timeout=60)

    def ask(self, picture: bytes) -> dict[str, Any]:
        """Return the answer to one picture that is a face.

        Raises `ModelError` for another status than 200.
        """
        answer = self._client.post("/predict?framing=face", files={"picture": picture})
        if answer.status_code != httpx.codes.OK:
            raise ModelError(f"/predict was answered {answer.status_code}: {answer.text[:200]}")
        values: dict[str, Any] = answer.json()
        return values

    def correct(self, token: str, emotion: str, picture: bytes) -> str:
        """Send a correction with its picture; return the receipt.

        Raises `ModelError` where it was refused.
        """
        form = {"token": token, "correction": emotion, "consent": "true"}
        answer = self._client.post("/feedback?framing=face", data=form, files={"picture": picture})
        if answer.status_code != httpx.codes.CREATED:
            raise ModelError(f"/feedback was answered {answer.status_code}: {answer.text[:200]}")
        return str(answer.json()["id"])

    def model(self) -> str:
        """Fingerprint of the model that answers."""
        return str(self._client.get("/model").json()["fingerprint"])

    def counter(self, name: str, **labels: str) -> float:
        """Return the value of a counter on /metrics, 0 before its first count.

        Summed over the labels that are not named.
        """
        words = {f'{key}="{value}"' for key, value in labels.items()}
        total = 0.0
        for line in self._client.get("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.startswith(f"{name}_total{{") and words <= set(series.partition("{")[2].rstrip("}").split(",")):
                total += float(value)
        return total

    def wait_for_log(self, seconds: float) -> None:
        """Wait until all answered faces are in the prediction log.

        Raises `ModelError` as `wait_for_counter`.
        """
        answered = self.counter("fer_faces", source="picture")
        self.wait_for_counter(answered, seconds, "fer_logged_predictions")
        lost = answered - self.counter("fer_logged_predictions", outcome="written")
        if lost > 0:
            raise ModelError(f"{lost:.0f} of {answered:.0f} answers are not in the log of predictions: see service.log")

    def wait_for_model(self, fingerprint: str, seconds: float) -> float:
        """Return the seconds until this model answers.

        Raises `ModelError` where it does not within the time.
        """
        start = time.monotonic()
        while self.model() != fingerprint:
            if time.monotonic() - start > seconds:
                raise ModelError(f"model {self.model()} still answers after {seconds:.0f} s, expected {fingerprint}")
            time.sleep(0.1)
        return time.monotonic() - start

    def wait_for_counter(self, value: float, seconds: float, name: str, **labels: str) -> None:
        """Wait until a counter has reached a value.

        Raises `ModelError` where it does not within the time.
        """
        end = time.monotonic() + seconds
        while (found := self.counter(name, **labels)) < value:
            if time.monotonic() > end:
                raise ModelError(f"{name} {labels} is {found:.0f} after {seconds:.0f} s, expected {value:.0f}")
            time.sleep(1)

    @contextmanager
    def under_load(self, pictures: Sequence[bytes]) -> Iterator[Counted]:
        """Sends pictures in turn, by several clients, while the block runs."""
        counted, lock, stop = Counted(), threading.Lock(), threading.Event()

        def send(first: int) -> None:
            service = Service(self.address)
            for picture in itertools.islice(itertools.cycle(pictures), first, None):
                if stop.wait(PAUSE_SECONDS):
                    return
                start = time.monotonic()
                try:
                    model, failure = str(service.ask(picture)["model"]["fingerprint"]), None
                except Exception as error:  # whatever it is, it is a request that failed
                    model, failure = "", f"{type(error).__name__}: {error}"
                with lock:
                    counted.slowest = max(counted.slowest, time.monotonic() - start)
                    if failure is None:
                        counted.by_model[model] += 1
                    else:
                        counted.failures[failure] += 1

        threads = [threading.Thread(target=send, args=(number * 17,), daemon=True) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield counted
        finally:
            stop.set()
            for thread in threads:
                thread.join()
