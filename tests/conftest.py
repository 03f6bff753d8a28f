"""Environment of the tests, set before any tool is imported, and the shared fixtures."""

from __future__ import annotations

import os
import sys

from hypothesis import settings

from fer_pipeline import environment

# Nothing leaves the machine, importing TensorFlow stays quiet, and no test uses a GPU.
QUIET = {name: value for name, value in environment.DEFAULTS.items() if name != "PYTHONWARNINGS"}
os.environ.update({**QUIET, "CUDA_VISIBLE_DEVICES": ""})

# Speed is measured by benchmarks: an example that takes long on a busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = [
    "tests.fixtures.commands",
    "tests.fixtures.homes",
    "tests.fixtures.images",
    "tests.fixtures.models",
    "tests.fixtures.registry",
    "tests.fixtures.stripes",
    "tests.fixtures.tables",
    "tests.fixtures.trained",
    "tests.fixtures.videos",
]

# A worker of pytest-xdist has no main file, which Spark's client takes for a run of its doctests, and ends it.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = os.devnull
