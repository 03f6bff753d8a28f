from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.analysis.explain.faithfulness import (
    BASELINES,
    STEPS,
    deletion_insertion_curves,
    measure_faithfulness,
    sample_evenly,
)
from tests.analysis.explain.samples import HAPPY, by_mouth, mouth_map, noisy_faces


def test_the_true_map_changes_both_curves_at_once() -> None:
    """Deletion falls and insertion rises at once for the true map."""
    face = noisy_faces(1).images[0]
    deletion, insertion = deletion_insertion_curves(face, mouth_map(face)[HAPPY], by_mouth, HAPPY)
    whole = by_mouth(face[None])[0, HAPPY]
    blurred = by_mouth(cv2.GaussianBlur(face[:, :, 0], (0, 0), 6, borderType=cv2.BORDER_REPLICATE)[None, :, :, None])[0, HAPPY]
    assert len(deletion) == len(insertion) == STEPS + 1
    assert deletion[0] == insertion[-1] == whole
    assert deletion[2:] == pytest.approx(blurred)  # two steps take the 128 pixels of the mouth
    assert insertion[2:] == pytest.approx(whole)


def test_a_true_map_is_trusted_and_a_false_one_is_not() -> None:
    def only_happy(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        probabilities = by_mouth(inputs)
        return np.where(np.arange(7) == HAPPY, probabilities, probabilities / 10)

    rows = measure_faithfulness(
        noisy_faces(20), only_happy, {"true": mouth_map, "false": lambda image: -mouth_map(image)}, sample_size=14
    )
    found = {row.method: row for row in rows}
    assert tuple(found) == ("true", "false", *BASELINES)
    assert found["true"].trusted
    assert not any(found[name].trusted for name in ("false", *BASELINES))
    assert found["true"].deletion_auc < found["random"].deletion_auc
    assert found["true"].insertion_auc > found["centre"].insertion_auc
    assert found["true"].score.low <= found["true"].score.estimate <= found["true"].score.high


def test_images_are_drawn_evenly_over_labels() -> None:
    """Images are drawn evenly over labels as long as there are some."""
    labels = np.array([0] * 50 + [1] * 2 + [2] * 10)
    chosen = sample_evenly(labels, 12, seed=1)
    assert np.bincount(labels[chosen]).tolist() == [5, 2, 5]
    assert len(set(chosen)) == 12
    assert (chosen == sample_evenly(labels, 12, seed=1)).all()
    assert len(sample_evenly(labels, 100, seed=0)) == 62
