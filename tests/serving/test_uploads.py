from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path

import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.serving.http.uploads import Limits


def test_limits_come_from_the_environment_and_the_rest_stays_as_it_is() -> None:
    limits = Limits.read({"FER_MAX_UPLOAD_MEGABYTES": "25", "FER_MAX_WAITING": "0", "HOME": "/root"})
    assert limits == Limits(max_upload_megabytes=25, max_waiting=0)


@pytest.mark.parametrize("limit", fields(Limits), ids=lambda limit: limit.name)
def test_the_docs_give_each_limit_with_its_default(limit: Field[int]) -> None:
    assert f"`FER_{limit.name.upper()}={limit.default}`" in (Path(__file__).parents[2] / "docs" / "service.md").read_text()


@pytest.mark.parametrize("value", ["", "ten", "-1", "1.5", "0", "²"])
def test_a_limit_that_is_no_positive_whole_number_is_an_error(value: str) -> None:
    with pytest.raises(ParamsError, match="FER_MAX_UPLOAD_MEGABYTES"):
        Limits.read({"FER_MAX_UPLOAD_MEGABYTES": value})
