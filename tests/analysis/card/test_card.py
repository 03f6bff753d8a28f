from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fer_pipeline.analysis.card.card import CardMetadata, markdown, read_card_metadata, write_card
from fer_pipeline.analysis.card.sections import card_sections
from fer_pipeline.analysis.external.ferplus import FERPLUS_TITLE
from fer_pipeline.errors import ModelError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.reports.components import BulletList, Section, Table

FIGURES = {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "ece": 0.021, "recall_happy": 1.0, "novel_figure": 0.5}


INTERVAL = {"estimate": 0.41, "low": 0.4, "high": 0.43}


@pytest.fixture
def workspace(tmp_path: Path, brightness_model: Path, make_processed: Callable[..., Path]) -> Path:
    """data/ with everything that a card reads, and no optional report."""
    data = tmp_path / "data"
    shutil.copytree(brightness_model, data / "export")
    replace(ModelInfo.read(data / "export"), metrics=FIGURES).write(data / "export")
    make_processed(data / "processed", {"test": 14})
    evaluation = data / "reports" / "evaluation"
    evaluation.mkdir(parents=True)
    (evaluation / "metrics.json").write_text(json.dumps(FIGURES))
    calibration = {"rows": 70, "fitted_on": "validation", "ece_before": 0.1, "ece_after": 0.02}
    (evaluation / "calibration.json").write_text(json.dumps(calibration))
    pairs = [(name, name) for name in EMOTIONS] * 4 + [("fear", "sad")] * 4
    lines = ["actual,predicted", *(",".join(pair) for pair in pairs)]
    (evaluation / "confusion.csv").write_text("\n".join(lines))
    (data / "model").mkdir()
    training = {"profile": "cpu", "parameters": 661095, "epochs": 42, "seconds": 2880.0, "images_per_second": 300.0}
    training |= {"backend": "tensorflow", "keras_version": "3.15.1", "params": {"seed": 7, "early_stopping_patience": 0}}
    (data / "model" / "training.json").write_text(json.dumps(training))
    return data


def read(data: Path) -> CardMetadata:
    return read_card_metadata(
        data / "export", data / "model", data / "processed", data / "reports" / "evaluation", data / "reports"
    )


def text(data: Path) -> str:
    return markdown("card", None, card_sections(read(data)))


def write_reports(data: Path, model: str) -> None:
    external = {"model": model, "data": "JAFFE", "part": "all pictures", "rows": 183, "accuracy": INTERVAL, "macro_f1": INTERVAL}
    external |= {"ece": 0.2, "lacking": ["neutral"], "left_out": {"contempt": 30}, "notes": ["Ten women."]}
    external |= {"rows_unreadable": 0, "rows_without_face": 2}
    curve = {"unit": "degrees", "strengths": [10, 20, 30, 40, 50], "accuracy": [0.5, 0.4, 0.3, 0.2, 0.1]}
    robustness = {"model": model, "rows": 1000, "mean_corruption_accuracy": INTERVAL, "accuracy": INTERVAL, "kept": 0.73}
    robustness |= {"corruptions": {"rotation": curve}}
    methods = {
        "lime": {"deletion_auc": 0.1, "insertion_auc": 0.6, "trusted": True},
        "random": {"deletion_auc": 0.3, "insertion_auc": 0.3, "trusted": False},
    }
    explanation = {"model": model, "pictures": 70, "methods": methods, "absent": {"gradcam": "model.keras is missing"}}
    for name, values in (("external/jaffe", external), ("robustness", robustness), ("explanation", explanation)):
        (data / "reports" / name).mkdir(parents=True)
        (data / "reports" / name / "metrics.json").write_text(json.dumps(values))


def test_every_section_says_what_was_not_measured_yet(workspace: Path) -> None:
    """Every section is there, and says what was not measured yet."""
    card = text(workspace)
    for title in ("Intended use", "Uses that are ruled out", "Data", "Results per emotion", "What was not measured", "Lineage"):
        assert f"## {title}\n" in card
    for command in ("fer evaluate-dataset", "fer robustness", "fer explain-report"):
        assert f"Not measured for this model: run `{command}`." in card
    for words in ("Art. 5(1)(f)", "Art. 50(3)", "no labels of age, gender or skin tone", "does not read what a person feels"):
        assert words in card


def test_every_figure_of_evaluate_is_in_the_card(workspace: Path) -> None:
    card = text(workspace)
    assert "| accuracy | 75.0 % | 70.0 to 80.0 % |" in card
    assert "| novel figure | 0.5 |" in card  # one that the card has no name for
    assert "| fear | 8 | 50.0 % | 21.5 to 78.5 % | 100.0 % | 66.7 % |" in card
    assert "fear taken for sad (50.0 %)" in card
    assert "the ECE from 0.100 to 0.020. On test the ECE is 0.021" in card
    assert "42 epochs in 48 minutes" in card
    assert "seed 7" in card


def test_the_hardware_that_trained_is_told_where_it_is_known(workspace: Path) -> None:
    assert "on the tensorflow backend of Keras 3.15.1, seed 7." in text(workspace)
    place = workspace / "model" / "training.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"device": "4 x NVIDIA H200"}))
    assert "on the tensorflow backend of Keras 3.15.1 (4 x NVIDIA H200), seed 7." in text(workspace)


def test_figures_with_test_time_augmentation_are_named_as_such(workspace: Path) -> None:
    assert "test-time augmentation" not in text(workspace)
    figures = FIGURES | {"accuracy_tta": 0.76, "accuracy_tta_low": 0.71, "accuracy_tta_high": 0.81, "ece_tta": 0.03}
    (workspace / "reports" / "evaluation" / "metrics.json").write_text(json.dumps(figures))
    replace(ModelInfo.read(workspace / "export"), metrics=figures).write(workspace / "export")
    card = text(workspace)
    assert "| accuracy | 75.0 % | 70.0 to 80.0 % |" in card
    assert "(mean over ten views), which serving does without | 76.0 % | 71.0 to 81.0 % |" in card
    assert "| ECE with test-time augmentation and a temperature of its own | 0.030 |" in card


def test_what_it_learned_from_besides_the_labels_is_told(workspace: Path) -> None:
    place = workspace / "model" / "training.json"
    training = json.loads(place.read_text())
    training["params"] |= {
        "distillation_weight": 0.8,
        "teachers_hash": "0123456789ab",
        "soft_label_weight": 0.7,
        "soft_labels_hash": "ba9876543210",
        "initial_model": "fast-labels",
        "vote_share": 0.75,
    }
    place.write_text(json.dumps(training | {"params": training["params"] | {"vote_loss_weight": 0.4}}))
    words = text(workspace)
    assert "distilled online from other networks (0123456789ab)" in words
    assert "for each augmented training picture had 80 % of the loss" in words
    assert "70 % of the target of each label were stored soft labels (ba9876543210)" in words
    assert "learned the FER+ votes" in words
    assert "began with the weights of the pretrained model fast-labels" in words
    assert "75 % of the target of a picture were the shares of its FER+ votes" in words


def test_a_temperature_fitted_on_votes_is_told(workspace: Path) -> None:
    assert "fitted on 70 rows of the validation split, where it took the ECE from 0.100 to 0.020. On test" in text(workspace)
    place = workspace / "reports" / "evaluation" / "calibration.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"standard": "votes"}))
    words = text(workspace)
    assert (
        "fitted on the FER+ votes of 70 rows of the validation split, where it took the ECE against the votes from 0.100" in words
    )
    assert "On test the ECE against the labels is" in words


def test_an_emotion_without_test_pictures_has_no_recall(workspace: Path) -> None:
    (workspace / "reports" / "evaluation" / "confusion.csv").write_text("actual,predicted\nhappy,happy\nsad,fear\n")
    card = text(workspace)
    assert "| fear | 0 | none |" in card
    assert "| happy | 1 | 100.0 % | 20.7 to 100.0 % |" in card


def test_reports_of_this_model_are_in_the_card(workspace: Path) -> None:
    write_reports(workspace, ModelInfo.read(workspace / "export").fingerprint)
    card = text(workspace)
    assert (
        "| JAFFE, all pictures | 183 | 41.0 % | 40.0 to 43.0 % | 41.0 % | 0.200 | this set lacks neutral; left out: 30 contempt"
        in card
    )
    assert "2 without a face found" in card
    assert "- JAFFE: Ten women." in card
    assert "Mean accuracy under corruption 41.0 % (40.0 to 43.0 %)" in card
    assert "| rotation (degrees) | 10: 50.0 % | 20: 40.0 %" in card
    assert "| lime | 0.100 | 0.600 | yes |" in card
    assert "| random | 0.300 | 0.300 | baseline |" in card
    assert "- gradcam was not measured: model.keras is missing" in card


@pytest.mark.parametrize(
    ("measured", "unknown"),
    [
        ((), True),
        ((FERPLUS_TITLE,), True),  # other labels for pictures of FER-2013
        (("JAFFE",), False),
        ((FERPLUS_TITLE, "JAFFE"), False),
    ],
)
def test_a_card_says_where_other_collections_are_missing(workspace: Path, measured: tuple[str, ...], unknown: bool) -> None:
    """A card says where no pictures of another collection were measured."""
    write_reports(workspace, ModelInfo.read(workspace / "export").fingerprint)
    report = json.loads((workspace / "reports" / "external" / "jaffe" / "metrics.json").read_text())
    shutil.rmtree(workspace / "reports" / "external")
    for number, title in enumerate(measured):
        folder = workspace / "reports" / "external" / str(number)
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(report | {"data": title}))
    card = text(workspace)
    assert ("No pictures of another collection were at hand" in card) is unknown
    assert all(f"| {title}, all pictures |" in card for title in measured)


def test_reports_of_another_model_are_left_out_and_named(workspace: Path) -> None:
    write_reports(workspace, "another")
    assert read(workspace).stale == ("explanation", "external/jaffe", "robustness")
    card = text(workspace)
    assert "JAFFE" not in card
    assert "Not measured for this model (a report of another model is there): run `fer robustness`." in card
    assert "| explanation, external/jaffe, robustness |" in card


def test_an_evaluation_of_another_model_is_refused(workspace: Path) -> None:
    (workspace / "reports" / "evaluation" / "metrics.json").write_text(json.dumps(FIGURES | {"accuracy": 0.99}))
    with pytest.raises(ModelError, match="was measured for another model"):
        read(workspace)


@pytest.mark.parametrize(
    "name", ["model/training.json", "reports/evaluation/confusion.csv", "reports/evaluation/calibration.json"]
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(workspace: Path, name: str) -> None:
    (workspace / name).unlink()
    with pytest.raises(ModelError, match=r"cannot be read.*run `fer|fer evaluate") as caught:
        read(workspace)
    assert name in str(caught.value)


def test_markdown_holds_paragraphs_lists_and_tables() -> None:
    sections = (Section("One", ("Words.", BulletList(("a", "b")), Table(("name", "n"), (("x|y", "1"),)))),)
    assert markdown("T", "Careful", sections) == (
        "# T\n\n> **Careful**\n\n## One\n\nWords.\n\n- a\n- b\n\n| name | n |\n| --- | ---: |\n| x\\|y | 1 |\n"
    )


def test_html_and_markdown_hold_the_same_words(tmp_path: Path, workspace: Path) -> None:
    facts = read(workspace)
    facts = replace(facts, info=replace(facts.info, synthetic=True))
    write_card(tmp_path / "card", facts, card_sections(facts))
    page = (tmp_path / "card" / "model_card.html").read_text()
    plain = (tmp_path / "card" / "model_card.md").read_text()
    assert "synthetic faces" in page
    assert "synthetic faces" in plain
    assert "http" not in page
    for section in card_sections(facts):
        assert f"<h2>{section.title}</h2>" in page
        for block in section.blocks:
            if isinstance(block, BulletList):
                assert all(f"<li>{sentence}</li>" in page.replace("&#34;", '"') for sentence in block.sentences)


def test_the_command_writes_both(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    monkeypatch.chdir(workspace.parent)
    write_reports(workspace, "another")
    done = CliRunner().invoke(app, ["card"])
    assert done.exit_code == 0, done.output
    assert "was measured for another model" in done.output
    assert (workspace / "reports" / "card" / "model_card.html").is_file()
    assert (workspace / "reports" / "card" / "model_card.md").is_file()
