"""A browser, and a service whose page it visits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.pretrained import model_folder
from tests.serving.browsing import Site, Visit, chromium
from tests.serving.devices import LOADED


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, drawn_face: UInt8Array) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("camera"), drawn_face) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With the shipped model."""
    made = Site(model_folder("fast"), tmp_path_factory.mktemp("videos"))
    yield made
    made.close()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Visit]:
    made = Visit(browser, site.address)
    yield made
    made.close()


@pytest.fixture
def here(visit: Visit) -> Visit:
    """A page that has loaded the model."""
    visit.page.check("#where-device")
    visit.wait(LOADED)
    return visit
