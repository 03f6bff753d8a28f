"""Figures of the data quality page."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fer_pipeline import schemas
from fer_pipeline.data.validate.frames import REFERENCE_SHARES
from fer_pipeline.data.validate.summary import BINS, LIGHT, Summary
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.reports.figures import themed

_COLORS: Final = {"train": "#0b5fad", "validation": "#d9822b", "test": "#3f8f4f"}


@themed
def balance_figure(classes: pd.DataFrame) -> Figure:
    """Draw the share of each emotion in each split beside FER-2013.

    `classes` has the columns split and share, and in each split one row per emotion, in order.
    """
    figure = Figure(figsize=(9, 3.4))
    axes = figure.subplots()
    positions = np.arange(len(EMOTIONS))
    for number, split in enumerate(schemas.SPLITS):
        shares = classes.loc[classes["split"] == split, "share"].to_numpy()
        axes.bar(positions + (number - 1) * 0.26, 100 * shares, width=0.25, label=split, color=_COLORS[split])
    reference = 100 * np.array(REFERENCE_SHARES)
    axes.hlines(reference, positions - 0.42, positions + 0.42, color="black", linewidth=1.5, label="FER-2013")
    axes.set_xticks(positions, EMOTIONS)
    axes.set_ylabel("share of the split in %")
    figure.legend(loc="outside upper right", ncols=4)
    return figure


@themed
def light_figure(summary: Summary) -> Figure:
    """Draw histograms of brightness and contrast per split, without augmented rows."""
    figure = Figure(figsize=(9, 2.8))
    words = {"brightness": "brightness (mean gray value)", "contrast": "contrast (standard deviation)"}
    for axes, (column, top) in zip(figure.subplots(1, 2), LIGHT.items(), strict=True):
        edges = np.linspace(0, top, BINS + 1)
        for split in schemas.SPLITS:
            if total := summary.lit[split, column]:
                shares = [100 * summary.bins[split, column, number] / total for number in range(BINS)]
                axes.hist(edges[:-1], bins=edges, weights=shares, histtype="step", label=split, color=_COLORS[split])
        axes.set(xlabel=words[column], ylabel="% of the split")
    figure.axes[0].legend()
    return figure
