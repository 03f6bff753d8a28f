"""Write the result of a drift check: drift.json and a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.monitoring.drift import EMOTION_MIX, DriftResult, as_values
from fer_pipeline.monitoring.log_files import Window
from fer_pipeline.monitoring.observations import Floats, Observations
from fer_pipeline.reports.components import Table, Tone, fixed, toned
from fer_pipeline.reports.figures import BLUE, GRAY, RED, themed
from fer_pipeline.reports.page import write_report
from fer_pipeline.workspace.files import REPORT_FILE

RESULT_FILE = "drift.json"

UNKNOWN_TRAINING_DATA = (
    "it is unknown on which pictures this model was trained (no training_pictures.npy beside its weights): its reference may "
    "hold some, on which it is surer of itself than on new ones, and that would look like drift"
)
"""Warning where training images could not be excluded from the reference."""

_UNITS = {
    "confidence": "largest probability",
    "brightness": "mean gray value, 0 to 255",
    "contrast": "standard deviation of the gray values",
    "sharpness": "variance of the Laplacian at 48x48",
}
_BINS = 30


def write(
    out: Path,
    result: DriftResult,
    reference: Observations,
    window: Window,
    info: ModelInfo,
    span: str,
    *,
    unknown_training_data: bool,
) -> Path:
    """Replace the folder `out` by drift.json and report.html; return the page.

    `unknown_training_data`: the model has no list of its training images.
    """
    values = {
        **as_values(result),
        "model": info.fingerprint,
        "network": info.network,
        "synthetic": info.synthetic,
        "span": span,
        "uncertain": window.uncertain,
        "median_size": window.median_size,
        "other_versions": window.other_versions,
        "unreadable": list(window.unreadable),
        "training_pictures_known": not unknown_training_data,
    }
    write_report(
        out,
        "drift.html",
        values,
        metrics_file=RESULT_FILE,
        result=result,
        state=_state(result),
        window=window,
        info=info,
        span=span,
        unknown_training_data=UNKNOWN_TRAINING_DATA if unknown_training_data else None,
        comparisons=_comparison_table(result),
        figure=drift_figure(result, reference, window.observations) if result.judged else None,
    )
    return out / REPORT_FILE


def _state(result: DriftResult) -> tuple[str, Tone]:
    if not result.judged:
        return "not tested", "warn"
    return ("drift", "bad") if result.drifted else ("no drift", "good")


def _comparison_table(result: DriftResult) -> Table:
    return Table(
        ("quantity", "drift", "test", "statistic", "p", "corrected p", "PSI", "what was found"),
        tuple(
            (
                one.name,
                toned("yes", "bad") if one.drifted else toned("no", "good"),
                one.test,
                f"{one.statistic:.3g}",
                f"{one.p_value:.2g}",
                f"{one.adjusted_p:.2g}",
                fixed(one.psi),
                one.reason,
            )
            for one in result.comparisons
        ),
        align="lllrrrrl",
    )


@themed
def drift_figure(result: DriftResult, reference: Observations, window: Observations) -> Figure:
    """Draw one panel per comparison.

    The reference is gray, the window blue, or red where the quantity has drifted.
    """
    columns = 3
    rows = -(-len(result.comparisons) // columns)
    figure = Figure(figsize=(12, 3.4 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, comparison in zip(panels, result.comparisons, strict=False):
        color = RED if comparison.drifted else BLUE
        if comparison.name == EMOTION_MIX:
            _draw_mix(axes, reference, window, color)
        else:
            _draw_values(axes, getattr(reference, comparison.name), getattr(window, comparison.name), color)
            axes.set_xlabel(_UNITS[comparison.name])
        axes.set_title(f"{comparison.name}: PSI {comparison.psi:.3f}{', drift' if comparison.drifted else ''}")
        axes.legend()
    for axes in panels[len(result.comparisons) :]:  # what is left of the grid
        axes.set_visible(False)
    return figure


def _draw_values(axes: Axes, before: Floats, now: Floats, color: str) -> None:
    both = np.concatenate([before, now])
    highest = float(np.quantile(both, 0.995))  # a few extreme values would press the rest together
    edges = np.linspace(float(both.min()), highest, _BINS + 1).tolist()
    old, new = (np.full(len(values), 100 / len(values)) for values in (before, now))
    axes.hist(before, bins=edges, weights=old, label="reference", color=GRAY, alpha=0.55)
    axes.hist(now, bins=edges, weights=new, label="window", color=color, histtype="step", linewidth=1.6)
    axes.set_ylabel("% of predictions")


def _draw_mix(axes: Axes, reference: Observations, window: Observations, color: str) -> None:
    places = np.arange(len(EMOTIONS))
    axes.bar(places - 0.2, 100 * reference.emotion_counts / len(reference), 0.4, color=GRAY, alpha=0.55, label="reference")
    axes.bar(places + 0.2, 100 * window.emotion_counts / len(window), 0.4, color=color, label="window")
    axes.set_xticks(places, EMOTIONS, rotation=30, ha="right")
    axes.set_ylabel("% of predictions")
