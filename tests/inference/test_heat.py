from __future__ import annotations

import numpy as np

from fer_pipeline.inference.heat import heat_picture


def test_the_picture_is_red_for_and_blue_against_and_gray_where_it_does_not_matter() -> None:
    importance = np.zeros((48, 48))
    importance[:24, :24], importance[24:, 24:] = 3.0, -3.0
    picture = heat_picture(np.full((48, 48, 1), 100, np.uint8), importance)
    assert (picture.shape, picture.dtype) == ((336, 336, 3), np.uint8)
    red, blue, plain = picture[10, 10].astype(int), picture[300, 300].astype(int), picture[10, 300]
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert plain.tolist() == [100, 100, 100]
