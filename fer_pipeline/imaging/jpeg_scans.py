"""Count the scans of a JPEG and tell whether they are all there, without decoding.

Structure of the file: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Markers with a header. In the data of a scan, 0xFF is followed by 0 or by a restart marker; libjpeg passes over what is below
# 0xC0 there, and refuses it elsewhere.
_MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd8-\xfe])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COEFFICIENTS = 64


@dataclass(frozen=True)
class JpegScans:
    """Scans of a JPEG file.

    `lacks_end` is true where the file ends without its end marker, after scans that carry all coefficients of all components in
    full precision. Whether the data of the last scan are whole does not show here.
    """

    count: int = 0
    lacks_end: bool = False

    @classmethod
    def read(cls, data: bytes, most: int) -> JpegScans:
        """Read the markers of a file, up to its end or to one scan more than `most`."""
        scans, components, position = 0, 0, 2
        missing_bits: dict[tuple[int, int], int] = {}  # by component and coefficient, of those that came
        while (found := _MARKER.search(data, position)) is not None and scans <= most:
            marker, start = found[1][0], found.end()
            if marker == _END_OF_IMAGE:
                return cls(scans)
            position = start + int.from_bytes(data[start : start + 2])
            if position > len(data):  # cut off in a header
                return cls(scans)
            if marker in _FRAME_HEADERS:
                components = data[start + 7]
            elif marker == _START_OF_SCAN:
                scans += 1
                named = 2 * data[start + 2]
                first, last, bits = data[start + 3 + named : start + 6 + named]
                missing_bits |= {
                    (component, coefficient): bits & 15
                    for component in data[start + 3 : start + 3 + named : 2]
                    for coefficient in range(first, min(last, _COEFFICIENTS - 1) + 1)
                }
        whole = bool(scans) and len(missing_bits) == _COEFFICIENTS * components and not any(missing_bits.values())
        return cls(scans, lacks_end=whole and scans <= most)
