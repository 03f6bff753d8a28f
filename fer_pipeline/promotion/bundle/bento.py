"""Build and test a bento of an exported model and the serving code."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from fer_pipeline.errors import ModelError
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion.bundle import store
from fer_pipeline.promotion.bundle.folder import copy_model
from fer_pipeline.promotion.bundle.smoke_test import smoke_test
from fer_pipeline.workspace.layout import BUNDLE
from fer_pipeline.workspace.locks import exclusive

SERVED_CODE: Final = (
    "fer_pipeline/*.py",
    "fer_pipeline/imaging/*.py",
    "fer_pipeline/workspace/*.py",
    "fer_pipeline/inference/**/*.py",
    "fer_pipeline/inference/detection/vendor/*",
    "fer_pipeline/monitoring/*.py",
    "fer_pipeline/feedback/*.py",
    "fer_pipeline/reports/[!f]*.py",
    "fer_pipeline/reports/templates/*",
    "fer_pipeline/serving/**/*.py",
    "fer_pipeline/serving/web/**/*",
)
"""Patterns of the code in a bundle: the `include` of bentofile.yaml without the model.

Of reports all but figures.py, which needs matplotlib.
"""

_BUILD_WAIT_SECONDS = 300.0


def build(model_folder: Path, version: str, root: Path, names: Mapping[str, str] | None = None, tested: str | None = None) -> str:
    """Build a bento of an exported model and the code in `root`; returns its tag.

    The folder `root` holds bentofile.yaml. The tag, such as "fer:v3-0a1b2c3d-4e5f60", ends in a digest of code and detector: a
    bento of the same tag is the same bento, and is kept as it is. It must pass `smoke_test` before it counts, unless its tag is
    `tested`, the one that the caller noted after an earlier build: a bento that a killed build left was not tested. `names`
    (name, version, alias of the registry) join the lineage in the service's answers.

    Raises `ModelError` where the model does not load, the build fails, or the bento does not answer as the model does, and
    leaves no such bento in the store; `WorkspaceBusyError` where another process builds for minutes.
    """
    EmotionClassifier.load(model_folder)
    with tempfile.TemporaryDirectory(prefix="fer-bento-") as scratch:
        context = Path(scratch)
        bundle = context / BUNDLE
        bundle.mkdir(parents=True)
        copy_model(bundle, model_folder, root, names)
        _copy_code(root, context)
        name = f"{version}-{_code_digest(context)}"
        tag = f"fer:{name}"
        if tag == tested and store.is_packaged(tag):  # before the lock: a roll-back waits for no build
            return tag
        # A roll-back does not wait for a training, and both may build; no bento is deleted while another process tests it.
        with exclusive(store.writable_store(), f"packaging {tag}", _BUILD_WAIT_SECONDS):
            if not store.is_packaged(tag):
                given = [word for label in labels_of(ModelInfo.read(bundle)).items() for word in ("--label", "=".join(label))]
                store.run_bentoml("build", "--bentofile", "bentofile.yaml", "--version", name, *given, cwd=context)
            try:
                smoke_test(tag, bundle)
            except BaseException:
                with suppress(ModelError):  # the first error says more; a bento left in the store is tested again
                    store.run_bentoml("delete", tag, "--yes")
                raise
    return tag


def labels_of(info: ModelInfo) -> dict[str, str]:
    """Return the labels by which `bentoml list` and `bentoml get` tell bentos apart.

    Network, fingerprint, data, and where they are known version, run, version of the data, and accuracy on the test split.
    """
    known = {
        "version": info.lineage.get("version"),
        "run": info.lineage.get("run_id"),
        "data_version": info.lineage.get("data_version"),
        "accuracy": f"{info.metrics['accuracy']:.4f}" if "accuracy" in info.metrics else None,
    }
    described = {"network": info.network, "model": info.fingerprint, "data": info.data}
    return described | {name: value for name, value in known.items() if value is not None}


def _copy_code(root: Path, context: Path) -> None:
    # A copy, so that the build neither walks through .venv and data nor depends on what lies in data/bundle.
    shutil.copy2(root / "bentofile.yaml", context)
    shutil.copytree(root / "fer_pipeline", context / "fer_pipeline", ignore=shutil.ignore_patterns("__pycache__"))


def _code_digest(context: Path) -> str:
    patterns = ("bentofile.yaml", *SERVED_CODE, f"{BUNDLE}/{YUNET_FILE}")
    served = {path for pattern in patterns for path in context.glob(pattern) if path.is_file()}
    digest = hashlib.sha256()
    for file in sorted(served):
        digest.update(file.relative_to(context).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:6]
