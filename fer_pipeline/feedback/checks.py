"""Check corrections with Great Expectations before they become training data.

A correction that fails a check of severity "error" cannot be accepted; "warning" is for a person to judge. The context is in
memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import numpy.typing as npt
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig

from fer_pipeline.config.params import FeedbackParams
from fer_pipeline.data.validate.expectations import ERROR, WARNING
from fer_pipeline.errors import SourceError
from fer_pipeline.feedback.known_faces import KnownFaces
from fer_pipeline.imaging import FACE_SIZE, UInt8Array, content_hash, perceptual_hash
from fer_pipeline.labels import EMOTIONS

_BITS: Final = 64


@dataclass(frozen=True)
class Candidate:
    """One correction to check.

    `face` is gray uint8, (48, 48) if it is valid; `emotion` is the corrected label.
    """

    id: str
    emotion: str
    sender: str
    face: UInt8Array


@dataclass(frozen=True)
class BatchCheck:
    """Result of one expectation.

    `failed` holds the observed value by id of each correction that failed.
    """

    name: str
    severity: Literal["error", "warning"]
    expected: str
    note: str
    failed: dict[str, str]


def check(batch: Sequence[Candidate], known: KnownFaces, accepted: frozenset[str], params: FeedbackParams) -> list[BatchCheck]:
    """Run the expectations on a batch.

    `accepted` holds content hashes of accepted corrections.
    """
    expectations = _expectations(params)
    if not batch:
        return []
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("feedback").add_dataframe_asset("corrections")
    suite = context.suites.add(gx.ExpectationSuite(name="corrections", expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="corrections", data=asset.add_batch_definition_whole_dataframe("all"), suite=suite)
    )
    outcome = definition.run(
        batch_parameters={"dataframe": frame(batch, known, accepted, params)},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]},
    )
    found = [_check(result) for result in outcome.results]
    order = [expectation.meta["name"] for expectation in expectations]
    return sorted(found, key=lambda one: order.index(one.name))


def frame(batch: Sequence[Candidate], known: KnownFaces, accepted: frozenset[str], params: FeedbackParams) -> pd.DataFrame:
    """Return one row per correction with the checked columns; flags are 0 or 1."""
    hashes = [content_hash(one.face) for one in batch]
    ranks = [hashes[:number].count(digits) for number, digits in enumerate(hashes)] if len(set(hashes)) < len(hashes) else 0
    labels: dict[str, set[str]] = {}
    for one, digits in zip(batch, hashes, strict=True):
        labels.setdefault(digits, set()).add(one.emotion)
    emotions, senders = Counter(one.emotion for one in batch), Counter(one.sender for one in batch)
    shares = {emotion: count / len(batch) if len(batch) >= params.share_from else 0.0 for emotion, count in emotions.items()}
    nearest = [_nearest(one.face, known.measured_perceptual) for one in batch]
    return pd.DataFrame(
        {
            "id": [one.id for one in batch],
            "emotion": [one.emotion for one in batch],
            "shape": ["x".join(map(str, one.face.shape)) for one in batch],
            "contrast": [float(one.face.std()) for one in batch],
            "repeated": ranks,
            "contradicted": [int(len(labels[digits]) > 1) for digits in hashes],
            "accepted_before": [int(digits in accepted) for digits in hashes],
            "in_train": [int(digits in known.train) for digits in hashes],
            "measured": [int(digits in known.measured or bits == 0) for digits, bits in zip(hashes, nearest, strict=True)],
            "bits_to_measured": nearest,
            "of_sender": [senders[one.sender] for one in batch],
            "emotion_share": [shares[one.emotion] for one in batch],
        }
    )


def _expectations(params: FeedbackParams) -> list[Any]:
    def flag(column: str, name: str, expected: str, note: str) -> Any:
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[0], **_words(name, expected, note))

    side = f"{FACE_SIZE}x{FACE_SIZE}"
    near = f"more than {params.max_hash_distance} of {_BITS} bits from each picture of validation and test, mirrored or not"
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="emotion", value_set=list(EMOTIONS), **_words("label", ", ".join(EMOTIONS), "What the network can learn.")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="shape", value_set=[side], **_words("picture", f"{side} gray", "What the service stores.")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="contrast",
            min_value=0,
            strict_min=True,
            **_words("flat", "more than one gray value", "There is no face in it."),
        ),
        flag("measured", "leak", "not in validation or test, mirrored or not", "What was trained on measures nothing any more."),
        flag("in_train", "known", "not in train", "The picture has a label there; corrections only add pictures."),
        flag("accepted_before", "accepted before", "once in all batches", "The same face was corrected and accepted before."),
        flag("repeated", "repeated", "once in the batch", "The first of the same pictures stands for all."),
        flag("contradicted", "contradicted", "one label for the same picture", "People say different things of this picture."),
        gxe.ExpectColumnValuesToBeBetween(
            column="bits_to_measured",
            min_value=params.max_hash_distance,
            strict_min=True,
            **_words("near a measured picture", near, "Perhaps a changed copy; look before you accept it.", WARNING),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="contrast",
            min_value=params.min_contrast,
            **_words("contrast", f"at least {params.min_contrast:g} gray levels", "Hardly anything can be seen.", WARNING),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="of_sender",
            max_value=params.max_per_sender,
            **_words(
                "one sender",
                f"at most {params.max_per_sender} of one address and day",
                "Somebody may be steering the model; behind a proxy all may seem to be one.",
                WARNING,
            ),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="emotion_share",
            max_value=params.max_emotion_share,
            **_words(
                "one emotion",
                f"at most {params.max_emotion_share:.0%} of the batch",
                f"Somebody may be steering the model; looked at in batches of {params.share_from} or more.",
                WARNING,
            ),
        ),
    ]


def _words(name: str, expected: str, note: str, severity: str = ERROR) -> dict[str, Any]:
    return {"severity": severity, "notes": note, "meta": {"name": name, "expected": expected}}


def _check(result: Any) -> BatchCheck:
    config = result.expectation_config
    if not result.result:
        raise SourceError(f"check {config.meta['name']!r} of the corrections failed itself: {str(result.exception_info)[:300]}")
    column = config.kwargs["column"]
    failed = {row["id"]: _value(row[column]) for row in result.result.get("unexpected_index_list") or []}
    severity: Literal["error", "warning"] = "warning" if config.severity == WARNING else "error"
    return BatchCheck(config.meta["name"], severity, config.meta["expected"], config.notes, failed)


def _value(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _nearest(face: UInt8Array, hashes: npt.NDArray[np.uint64]) -> int:
    """Return the smallest Hamming distance of a face or its mirror image to hashes."""
    if not len(hashes):
        return _BITS
    own = [np.uint64(int(perceptual_hash(one), 16)) for one in (face, np.ascontiguousarray(face[:, ::-1]))]
    return min(int(np.bitwise_count(hashes ^ one).min()) for one in own)
