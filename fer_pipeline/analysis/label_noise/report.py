"""Report page and tables of suspicious training labels."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer_pipeline.analysis.external.ferplus import majority
from fer_pipeline.analysis.label_noise.confident_learning import LabelNoise, find_noise
from fer_pipeline.analysis.label_noise.out_of_fold import OutOfFold
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.curves import roc
from fer_pipeline.reports.components import Table, Thumbnail, count, fixed, percent
from fer_pipeline.reports.figures import draw_matrix, themed
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import REPORT_FILE, replaced_folder, write_json
from fer_pipeline.workspace.names import cell

TABLE_FILE = "suspicious.csv"
FIGURES_FILE = "noise.json"

IMAGES_PER_PAIR = 14


@dataclass(frozen=True)
class Agreement:
    """Shares of `rows` rows whose FER+ majority is the given or suggested label.

    In the remaining share it is neither.
    """

    rows: int
    given: float
    suggested: float


@dataclass(frozen=True)
class VoteCheck:
    """Agreement of suspicious rows and of all others with the FER+ votes.

    `suggested` of the others is 0, as no other label is suggested for them. `auc` is the ROC AUC of the margin as a detector of
    rows whose majority is another emotion than the label (0.5: chance); NaN where all rows are of one kind.
    """

    suspicious: Agreement
    others: Agreement
    auc: float


def write_noise(out: Path, faces: FaceDataset, predicted: OutOfFold) -> tuple[LabelNoise, VoteCheck | None]:
    """Find label noise in the training rows and write the report.

    Augmented copies are left out. Replaces the folder `out` by report.html, noise.json and suspicious.csv; returns the noise
    and its check against FER+ votes, None without votes. Raises `SourceError` where the predictions are not for these rows
    and labels.
    """
    if not (np.array_equal(faces.ids, predicted.ids) and np.array_equal(faces.labels, predicted.labels)):
        raise SourceError("the out-of-fold predictions belong to other training rows: run `fer label-noise` again")
    originals = ~predicted.augmented
    faces, probabilities = faces.rows(originals), predicted.probabilities[originals]
    noise = find_noise(faces.labels, probabilities)
    check = check_votes(faces, noise)
    with replaced_folder(out) as folder:
        _write_table(folder / TABLE_FILE, faces, noise)
        write_json(folder / FIGURES_FILE, _figures(predicted, noise, check))
        write_page(
            folder / REPORT_FILE,
            "label_noise.html",
            source=predicted.metadata,
            rows=len(faces),
            suspicious=int(noise.suspicious.sum()),
            noise=noise,
            rates=rates_figure(noise),
            per_label=_label_table(faces, noise),
            votes=_vote_table(check) if check else None,
            pairs=_pairs(faces, noise),
            shown=IMAGES_PER_PAIR,
            check=check,
        )
    return noise, check


def check_votes(faces: FaceDataset, noise: LabelNoise) -> VoteCheck | None:
    """Compare labels and suggestions with FER+ majorities; None without votes."""
    if faces.votes is None:
        return None
    voted = np.flatnonzero(~np.isnan(faces.votes).any(axis=1))
    names = np.array([majority(row) for row in faces.votes[voted].astype(int).tolist()])
    words = np.array(EMOTIONS)
    given, suggested = words[faces.labels[voted]] == names, words[noise.suggested[voted]] == names
    suspicious = noise.suspicious[voted]
    decided = np.isin(names, words)
    return VoteCheck(
        suspicious=_agreement(given[suspicious], suggested[suspicious]),
        others=_agreement(given[~suspicious], np.zeros((~suspicious).sum(), bool)),
        auc=roc(~given[decided], -noise.margin[voted][decided]).area,
    )


@themed
def rates_figure(noise: LabelNoise) -> Figure:
    """Draw the estimated share of each true class among the rows of each given label."""
    figure = Figure(figsize=(6.4, 5.4))
    draw_matrix(
        figure.subplots(),
        noise.rates,
        [[f"{100 * share:.0f}" for share in row] for row in noise.rates],
        EMOTIONS,
        title="% of each given label",
        xlabel="estimated true label",
        ylabel="given label",
    )
    return figure


def _label_table(faces: FaceDataset, noise: LabelNoise) -> Table:
    counts = np.bincount(faces.labels, minlength=len(EMOTIONS))
    return Table(
        ("given label", "rows", "estimated wrong", "threshold"),
        tuple(
            (name, count(counts[index]), percent(1 - noise.rates[index, index]), fixed(noise.thresholds[index]))
            for index, name in enumerate(EMOTIONS)
        ),
    )


def _vote_table(check: VoteCheck) -> Table:
    sides = (
        ("suspicious rows", check.suspicious, percent(check.suspicious.suggested)),
        ("all others", check.others, ""),
    )
    return Table(
        ("", "rows with votes", "votes confirm the given label", "votes name the suggested one", "neither"),
        tuple(
            (title, count(side.rows), percent(side.given), suggested, percent(1 - side.given - side.suggested))
            for title, side, suggested in sides
        ),
    )


def _agreement(given: npt.NDArray[np.bool_], suggested: npt.NDArray[np.bool_]) -> Agreement:
    rows = len(given)
    return Agreement(rows, float(given.sum()) / max(rows, 1), float(suggested.sum()) / max(rows, 1))


def _figures(predicted: OutOfFold, noise: LabelNoise, check: VoteCheck | None) -> dict[str, Any]:
    return {
        **predicted.metadata,
        "suspicious": int(noise.suspicious.sum()),
        "noise_share": noise.share,
        "rates": {name: dict(zip(EMOTIONS, row, strict=True)) for name, row in zip(EMOTIONS, noise.rates.tolist(), strict=True)},
        "thresholds": dict(zip(EMOTIONS, noise.thresholds.tolist(), strict=True)),
        "votes": asdict(check) if check else None,
    }


def _pairs(faces: FaceDataset, noise: LabelNoise) -> list[dict[str, Any]]:
    """Thumbnails of suspicious rows by pair of labels, the largest pair first."""
    ranking = noise.ranking
    found = []
    for given, suggested in np.argwhere(noise.confident > 0):
        rows = ranking[(faces.labels[ranking] == given) & (noise.suggested[ranking] == suggested)]
        if given == suggested or not len(rows):
            continue
        names = EMOTIONS[given], EMOTIONS[suggested]
        thumbnails = [
            Thumbnail(faces.images[row], f"{names[0]}?", (str(faces.names[row]), percent(noise.self_confidence[row])))
            for row in rows[:IMAGES_PER_PAIR]
        ]
        found.append({"given": names[0], "suggested": names[1], "rows": len(rows), "thumbnails": thumbnails})
    return sorted(found, key=lambda pair: -pair["rows"])


def _write_table(path: Path, faces: FaceDataset, noise: LabelNoise) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(["id", "name", "given", "suggested", "self_confidence", "margin"])
        for row in noise.ranking:
            names = EMOTIONS[faces.labels[row]], EMOTIONS[noise.suggested[row]]
            writer.writerow(
                [faces.ids[row], cell(faces.names[row]), *names, f"{noise.self_confidence[row]:.5f}", f"{noise.margin[row]:.5f}"]
            )
