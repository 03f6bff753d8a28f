"""List the trainings on FER-2013 with their figures.

Read from what each training and evaluation left in benchmarks/attempts and fer_pipeline/weights.

PublicTest is test, validation is carved from Training: 548 rows (preprocess.validation_share 0.02) for the shipped models and
resnet-gpu-185, 1,368 (0.05) for resnet-gpu-160, compact-cpu-1 and -2, compact-votes and compact-stored-365, else 2,733. The
recipe of each is in its training.json; profile "none" is one that is no profile, or no longer. `fer run --profile NAME` on the
same source repeats the others. ensemble-3 is accurate, resnet-gpu-185 and resnet-live-185, ensemble-gpu-160 the three seeds of
resnet-gpu-160, ensemble-5 these three, accurate and resnet-gpu-185, ensemble-7 these five, fast and compact-stored-365, each with
ten views, as fast-ten-views is made of fast (`fer ensemble --tta-views 10`). balanced-fast and balanced-cpu are what
`fer adjust-logits` made of fast and compact-cpu-again, hog is `fer baseline`. "ECE before" is without temperature.

Teachers stand in training.json by fingerprint: bbd67f6de057 are resnet-gpu-80 and the three of wide-gpu, 1485e213442d
resnet-gpu-185 and resnet-live-185; stored answers 8eaba02b12ee are of resnet-live-185, b42b57a17ab6 of the three of
resnet-gpu-160, c331192c8ec0 of accurate. `device` was not stored yet when all but compact-cpu-quick were trained, and was added.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from fer_pipeline.config.training import TrainParams

FOLDERS = (Path("benchmarks/attempts"), Path("fer_pipeline/weights"))


def tables() -> Iterator[Table]:
    """Return one row per attempt, then one per recipe with several seeds.

    Rows are sorted by accuracy on PublicTest.
    """
    measured = ("validation", "PublicTest", "no copies", "ten views", "macro-F1", "ECE before", "ECE")
    table = Table("attempt", "profile", "seed", "minutes", *measured, title="attempts on FER-2013, in %")
    found = [file.parent for folder in FOLDERS for file in folder.glob("*/metrics.json")]
    attempts = sorted(((place, _read(place / "metrics.json")) for place in found), key=lambda found: -found[1]["accuracy"])
    for place, metrics in attempts:
        shares = ("validation_accuracy", "accuracy", "accuracy_dedup", "accuracy_tta", "macro_f1", "ece_uncalibrated", "ece")
        trained = _trained(place / "training.json") if (place / "training.json").exists() else ("", "", "")  # an ensemble
        table.add_row(place.name, *trained, *(f"{100 * metrics[share]:.1f}" if share in metrics else "" for share in shares))
    yield table
    yield _seeds(attempts)


def _seeds(attempts: list[tuple[Path, dict[str, Any]]]) -> Table:
    recipes: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for place, metrics in attempts:
        if (place / "training.json").exists():
            recipe = TrainParams.from_stored(_read(place / "training.json")["params"])
            same = recipe.model_copy(update={"seed": 0, "profile": "none", "evaluate_every": 1})  # these do not change a recipe
            recipes[same.model_dump_json()].append((place.name, metrics))
    table = Table("attempts", "trainings", "PublicTest", "no copies", "macro-F1", "ECE", title="mean ± standard deviation, in %")
    for members in recipes.values():
        if len(members) > 1:
            spreads = [
                [100 * metrics[share] for _, metrics in members] for share in ("accuracy", "accuracy_dedup", "macro_f1", "ece")
            ]
            names = ", ".join(sorted(name for name, _ in members))
            table.add_row(names, str(len(members)), *(f"{mean(values):.1f} ± {stdev(values):.1f}" for values in spreads))
    return table


def _trained(file: Path) -> tuple[str, str, str]:
    training = _read(file)
    return training["profile"], str(training["params"]["seed"]), f"{training['seconds'] / 60:.0f}"


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
