from __future__ import annotations

import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.serving.uploads import Limits


def test_limits_come_from_the_environment_and_the_rest_stays_as_it_is() -> None:
    limits = Limits.read({"FER_MAX_UPLOAD_MEGABYTES": "25", "FER_MAX_WAITING": "0", "HOME": "/root"})
    assert limits == Limits(max_upload_megabytes=25, max_waiting=0)


@pytest.mark.parametrize("value", ["", "ten", "-1", "1.5", "0", "²"])
def test_a_limit_that_is_no_positive_whole_number_is_an_error(value: str) -> None:
    with pytest.raises(ParamsError, match="FER_MAX_UPLOAD_MEGABYTES"):
        Limits.read({"FER_MAX_UPLOAD_MEGABYTES": value})
