from __future__ import annotations

import math

import numpy as np
import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.smoothing import EmotionFilter, ProbabilitySmoother


def test_smoothing_weighs_by_age_in_seconds() -> None:
    smoother = ProbabilitySmoother(0.5)
    first, second, third = np.eye(7)[0], np.eye(7)[1], np.eye(7)[2]
    assert smoother.add(first, 10.0) == tuple(first)
    smoother.add(second, 10.1)
    smoothed = smoother.add(third, 10.6)
    weights = np.array([math.exp(-0.6 / 0.5), math.exp(-0.5 / 0.5), 1.0])
    np.testing.assert_allclose(smoothed[:3], weights / weights.sum())
    assert sum(smoothed) == pytest.approx(1)


def test_no_smoothing_leaves_the_answers_as_they_are() -> None:
    smoother = ProbabilitySmoother(0.0)
    for row in np.eye(7):
        assert smoother.add(row, 1.0) == tuple(row)


def test_smoothing_does_not_depend_on_the_frame_rate() -> None:
    slow, fast = ProbabilitySmoother(0.5), ProbabilitySmoother(0.5)
    for smoother, rate in ((slow, 10), (fast, 100)):
        for n in range(2 * rate):
            smoother.add(np.eye(7)[0 if n < rate else 3], n / rate)
    assert slow.add(np.eye(7)[3], 2.0)[3] == pytest.approx(fast.add(np.eye(7)[3], 2.0)[3], abs=0.03)


def row(emotion: int, share: float = 0.4) -> list[float]:
    """A doubtful answer: `share` for one emotion, the rest for the other six alike."""
    return [share if n == emotion else (1 - share) / 6 for n in range(7)]


def seconds_until(emotion: int, filter_: EmotionFilter | ProbabilitySmoother, rate: int, start: float) -> float:
    for n in range(1, 10 * rate):
        if int(np.argmax(filter_.add(row(emotion), start + n / rate))) == emotion:
            return n / rate
    raise AssertionError("never changed")


def test_the_first_answer_is_the_one_of_its_frame() -> None:
    assert EmotionFilter().add(row(3), 5.0) == pytest.approx(row(3))


def test_agreeing_frames_raise_confidence_one_outlier_does_not() -> None:
    """Frames that agree make it surer and one that does not changes nothing."""
    model = EmotionFilter(2.0)
    for n in range(50):
        belief = model.add(row(3), n / 25)
    assert belief[3] > 0.8
    assert sum(belief) == pytest.approx(1)
    assert int(np.argmax(model.add(row(0, 0.9), 2.0))) == 3


def test_a_lasting_change_is_followed_later_with_longer_dwell() -> None:
    """A lasting change is followed and a longer dwell makes it later."""
    delays = []
    for dwell in (0.5, 2.0, 8.0):
        model = EmotionFilter(dwell)
        for n in range(100):
            model.add(row(3), n / 25)
        delays.append(seconds_until(0, model, 25, 99 / 25))
    assert delays == sorted(delays)
    assert delays[1] < 1.0


def test_the_delay_is_in_seconds_whatever_the_frame_rate() -> None:
    delays = []
    for rate in (10, 25, 100):
        model = EmotionFilter()
        for n in range(4 * rate):
            model.add(row(3), n / rate)
        delays.append(seconds_until(0, model, rate, (4 * rate - 1) / rate))
    assert max(delays) - min(delays) <= 0.11  # a frame of the slowest


def test_after_a_long_gap_the_past_is_forgotten() -> None:
    model = EmotionFilter(1.0)
    for n in range(50):
        model.add(row(3), n / 25)
    assert model.add(row(0), 60.0) == pytest.approx(row(0), abs=1e-6)


def test_an_emotion_that_a_frame_rules_out_can_come_back() -> None:
    model = EmotionFilter()
    model.add([1.0, 0, 0, 0, 0, 0, 0], 0.0)
    for n in range(1, 100):
        belief = model.add([0, 1.0, 0, 0, 0, 0, 0], n / 25)
    assert belief[1] > 0.9


def test_frames_of_the_same_moment_add_no_evidence() -> None:
    model = EmotionFilter()
    first = model.add(row(3), 1.0)
    assert model.add(row(0), 1.0) == pytest.approx(first)


def test_the_hmm_changes_and_errs_less_than_smoothing_on_noise() -> None:
    """On noisy frames the hidden markov model flickers less and errs less than smoothing."""
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.permutation(np.arange(42) % 7), 75)  # 3 s each at 25 frames a second, a new look every 0.2 s
    logits = np.repeat(1.5 * np.eye(7)[truth[::5]] + rng.normal(0, 1.2, (len(truth) // 5, 7)), 5, axis=0)
    answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    results = {}
    for name, model in (("smooth", ProbabilitySmoother()), ("hmm", EmotionFilter())):
        labels = np.array([np.argmax(model.add(answer.tolist(), n / 25)) for n, answer in enumerate(answers)])
        results[name] = (float((labels == truth).mean()), int((np.diff(labels) != 0).sum()))
    assert results["hmm"][0] > results["smooth"][0] > float((answers.argmax(axis=1) == truth).mean())
    assert results["hmm"][1] < results["smooth"][1]


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_dwell_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ParamsError, match="dwell_seconds"):
        EmotionFilter(seconds)
