from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from statistics import mean, stdev

import pytest

from fer_pipeline.config.params import load_params
from fer_pipeline.config.training import TrainParams

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {file: file.read_text(encoding="utf-8") for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TEXT = "\n".join(PAGES.values())
MODELS = PAGES[ROOT / "docs" / "results.md"]
PRETRAINED = ("fast", "fast-labels", "accurate")
FIGURES = {
    name: json.loads((ROOT / "fer_pipeline" / "weights" / name / "metrics.json").read_text(encoding="utf-8"))
    for name in PRETRAINED
}


@pytest.mark.parametrize(
    ("row", "figure"),
    [
        ("accuracy, all rows", "accuracy{}"),
        ("accuracy, rows without a copy in training or earlier in test", "accuracy{}_dedup"),
        ("macro-F1, all rows", "macro_f1{}"),
    ],
)
def test_the_pages_give_the_shares_of_the_pretrained_models(row: str, figure: str) -> None:
    """Of `fast` with a plain picture, of those that learned labels with ten views, too."""
    cells = [(FIGURES["fast"], figure.format(""))]
    cells += [(FIGURES[name], figure.format(views)) for name in PRETRAINED[1:] for views in ("", "_tta")]
    assert f"| {row} | {' | '.join(_share(found, name) for found, name in cells)} |" in TEXT


@pytest.mark.parametrize(
    ("row", "figure"),
    [
        ("agreement with most of ten annotators (FER+), 3,423 rows", "vote_agreement"),
        ("accuracy against FER-2013's own label", "accuracy"),
        ("the same without rows that have a copy in training or earlier in test", "accuracy_dedup"),
    ],
)
def test_the_readme_gives_the_figures_as_served(row: str, figure: str) -> None:
    """The short table of README has the figures of one picture, with their intervals."""
    cells = [_share(FIGURES[name], figure) for name in PRETRAINED if figure in FIGURES[name]]
    assert f"| {row} | {' | '.join(cells)}" in README
    assert cells


def test_the_pages_give_the_figures_against_votes() -> None:
    found = FIGURES["fast"]
    assert found["vote_rows"] == 3423
    for row, cell in (
        ("agreement with the emotion of most votes", _share(found, "vote_agreement")),
        ("the same, rows without a copy", _share(found, "vote_agreement_dedup")),
        (
            "of the most confident 90 %, 80 % of the answers",
            f"{100 * found['vote_agreement_at_90']:.1f} %, {100 * found['vote_agreement_at_80']:.1f} %",
        ),
        ("macro-F1", f"{100 * found['vote_macro_f1']:.1f} %"),
        (
            "KL(votes, probabilities), in nats; total variation",
            f"{found['vote_divergence']:.3f}; {found['vote_total_variation']:.3f}",
        ),
        ("calibration error against the shares of the votes; 0.02 was the aim", f"{found['vote_ece']:.3f}"),
    ):
        assert f"| {row} | {cell} |" in MODELS


def _share(found: dict[str, float], figure: str) -> str:
    return f"{100 * found[figure]:.1f} % ({100 * found[figure + '_low']:.1f} to {100 * found[figure + '_high']:.1f})"


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.split()) <= 1200


def test_the_readme_has_two_commands_for_a_newcomer() -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    assert [line.split("#")[0].split() for line in block.splitlines()] == [["make", "run"], ["make", "test"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if re.match(r"https?://", target):
            continue
        file, _, heading = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.is_file(), target
        titles = [
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in PAGES.get(linked, "").splitlines()
        ]
        assert not heading or heading in titles, target


def test_the_pages_give_the_ece_of_the_pretrained_models() -> None:
    labels = [f"{FIGURES[name][figure]:.3f}" for name in PRETRAINED[1:] for figure in ("ece", "ece_tta")]
    assert f"| expected calibration error | {FIGURES['fast']['ece']:.3f} | {' | '.join(labels)} |" in TEXT


def test_the_pages_give_robustness_and_other_data() -> None:
    folders = [ROOT / "fer_pipeline" / "weights" / name for name in PRETRAINED]
    reports = [json.loads((folder / "reports.json").read_text(encoding="utf-8")) for folder in folders]
    fast, labels, accurate = (f"{100 * report['robustness']['mean_corruption_accuracy']['estimate']:.1f} %" for report in reports)
    assert (
        f"`fast-labels` has {labels} in the mean over eight kinds at five strengths, `accurate` {accurate}, `fast` {fast}" in TEXT
    )
    (photographs,) = [f"{100 * found['accuracy']['estimate']:.1f} %" for found in reports[0]["external"]]
    assert f"gives `fast` {photographs}" in TEXT


@pytest.mark.parametrize(
    ("row", "attempts"),
    [
        ("labels alone, 80 epochs", ["resnet-gpu-80"]),
        ("125 epochs; 185 epochs", ["resnet-live-125"]),
        ("125 epochs; 185 epochs", ["resnet-live-185"]),
        ("labels alone, 160 epochs", ["resnet-gpu-160-1", "resnet-gpu-160-2", "resnet-gpu-160-3"]),
        ("labels alone, 185 epochs", ["resnet-gpu-185"]),
        ("of the 3 seeds; of 5", ["ensemble-gpu-160"]),
        ("of the 3 seeds; of 5", ["ensemble-5"]),
        ("each with ten views", ["ensemble-7"]),
        ("profile `gpu-wide`", ["wide-gpu-0", "wide-gpu-1", "wide-gpu-2"]),
        ("profile `cpu-quick`", ["compact-cpu-quick"]),
        ("profile `cpu`, seed 0 twice", ["compact-cpu", "compact-cpu-again", "compact-cpu-1", "compact-cpu-2"]),
        ("(`cpu-votes`)", ["compact-votes"]),
        ("(profile `distill`)", ["compact-stored"]),
        ("(profile `distill`)", ["compact-live"]),
        ("stored answers of the 3 seeds", ["compact-stored-365"]),
    ],
)
def test_the_pages_give_the_figures_of_the_attempts(row: str, attempts: list[str]) -> None:
    (line,) = [line for line in MODELS.splitlines() if line.startswith("|") and row in line]
    found = [json.loads((ROOT / "benchmarks/attempts" / name / "metrics.json").read_text(encoding="utf-8")) for name in attempts]
    for figure in ("accuracy", "macro_f1"):
        values = [100 * metrics[figure] for metrics in found]
        assert f"{mean(values):.1f}" + (f" ± {stdev(values):.1f} %" if len(values) > 1 else " %") in line
    assert f"{mean(metrics['ece'] for metrics in found):.3f}" in line
    views = [f"{100 * metrics['accuracy_tta']:.1f}" for metrics in found if "accuracy_tta" in metrics]
    assert not views or (min(views) in line and max(views) in line)


TRAININGS = [line.split(" | ") for line in PAGES[ROOT / "docs" / "training.md"].splitlines() if re.search(r"`[\w-]+` \|$", line)]


@pytest.mark.parametrize("cells", TRAININGS, ids=lambda cells: cells[-1].strip("` |"))
def test_the_table_of_profiles_gives_the_files(cells: list[str]) -> None:
    folders = [
        folder if (folder := ROOT / "fer_pipeline" / "weights" / name).is_dir() else ROOT / "benchmarks" / "attempts" / name
        for name in re.findall(r"`([\w-]+)`", cells[-1])
    ]
    found = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders]
    for cell, figure in zip(cells[2:5], ("accuracy", "macro_f1", "accuracy_tta"), strict=True):
        values = [f"{100 * metrics[figure]:.1f} %" for metrics in found if figure in metrics]
        assert cell.strip() == ", ".join(values)
    minutes = [json.loads((folder / "training.json").read_text(encoding="utf-8"))["seconds"] / 60 for folder in folders]
    assert [float(said) for said in cells[5].split(", ")] == pytest.approx(minutes, abs=0.51 if minutes[0] >= 5 else 0.051)


def test_each_profile_is_in_the_table_of_profiles() -> None:
    assert len(TRAININGS) > 10
    text = PAGES[ROOT / "docs" / "training.md"]
    assert [name for name in load_params(ROOT / "params.yaml").profiles if f"`{name}`" not in text] == []


def test_the_pages_give_the_baseline_and_the_adjusted_models() -> None:
    names = ("hog", "compact-cpu-again", "balanced-cpu", "balanced-fast")
    files = {name: ROOT / "benchmarks" / "attempts" / name / "metrics.json" for name in names}
    found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    assert f"`fer baseline`: {100 * found['hog']['accuracy']:.1f} % on PublicTest" in TEXT
    pairs = [(found["compact-cpu-again"], found["balanced-cpu"]), (FIGURES["fast-labels"], found["balanced-fast"])]
    text = " ".join(TEXT.split())
    ranges = [f"{100 * before['recall_disgust']:.0f} to {100 * after['recall_disgust']:.0f} %" for before, after in pairs]
    assert f"({ranges[0]} of 56 rows with a `cpu` network, {ranges[1]} with `fast-labels`)" in text
    lost = [f"{100 * (before[name] - after[name]):.1f}" for name in ("accuracy", "macro_f1") for before, after in pairs]
    assert (
        f"accuracy falls by {lost[0]} and {lost[1]} points, and macro-F1, for which it is chosen, by {lost[2]} and {lost[3]}"
        in text
    )


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_pretrained_model_has_the_recipe_of_its_profile(name: str) -> None:
    trained = json.loads((ROOT / "fer_pipeline" / "weights" / name / "training.json").read_text(encoding="utf-8"))
    recipe = load_params(ROOT / "params.yaml").recipe(trained["profile"])
    used = TrainParams.from_stored(trained["params"])  # keys that came later have their defaults
    learned_from = {
        "soft_labels_hash": used.soft_labels_hash,
        "teachers_hash": used.teachers_hash,
    }  # by fingerprint, no part of a profile
    assert used == recipe.with_values(learned_from)


def test_the_pages_give_the_label_noise() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "label-noise.json").read_text(encoding="utf-8"))
    rows, text = sum(fold["rows"] for fold in found["per_fold"]), " ".join(TEXT.split())
    assert f"({100 * found['accuracy']:.1f} % out of fold" in text
    assert f"suspects {found['suspicious']:,} of {rows:,} training labels" in text


def test_every_command_of_the_pages_exists() -> None:
    from fer_pipeline.cli.commands import ENTRIES

    found = set(re.findall(r"`fer ([a-z-]+)", TEXT))
    assert len(found) > 20
    assert found <= set(ENTRIES)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_what_commands_write_under_data_stays_out_of_git() -> None:
    texts = [
        TEXT,
        (ROOT / "compose.yaml").read_text(),
        *(file.read_text() for file in (ROOT / "fer_pipeline/cli").glob("*.py")),
    ]
    written = re.compile(r"(?<!reports/)(?<!fer_pipeline/)\bdata/([a-z_-]+)(?=[\s/`\"',;)])")
    found = {name for text in texts for name in written.findall(text)}
    paths = sorted(f"data/{name}" for name in found)
    done = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"data/bundle", "data/models", "data/scores"} <= set(paths)
    assert done.stdout.split() == paths
