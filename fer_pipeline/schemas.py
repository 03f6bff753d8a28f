"""Schemas of the tables that stages exchange, and the names of the splits."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

SPLITS: Final = ("train", "validation", "test")
"""Split names, in the order in which a model is trained, calibrated and measured."""

USAGE_SPLITS: Final = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
"""The split of each `Usage` of FER-2013, where all three occur."""

SPLIT_WORDS: Final = {
    "test": ("test", "testing", "test_set", "privatetest", "fer2013test"),
    "validation": ("validation", "valid", "val", "val_set", "publictest", "fer2013valid"),
    "train": ("train", "training", "train_set", "fer2013train"),
}
"""Lower-case words for the splits in folders and rows of data sets.

The first is the split to measure on.
"""

FEEDBACK_USAGE: Final = "Feedback"
"""`usage` of corrected rows, which always stay in train."""

FEEDBACK_NAME: Final = "feedback/"
"""What `name` of a corrected row begins with; it goes on with the time of acceptance and the receipt."""

VOTES: Final = pa.list_(pa.int8())
"""FER+ votes of one row, ten counts in the order of `labels.FERPLUS_COLUMNS`."""

RAW: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # position in the source, from 0
        pa.field("name", pa.string(), nullable=False),  # where it stood: "fer2013.csv:2", "train/happy/1.png"
        pa.field("emotion", pa.string()),  # label as found; null where the row has none
        pa.field("usage", pa.string()),  # "Training", "PublicTest", "PrivateTest"; null where the source has no splits
        pa.field("pixels", pa.string()),  # blank-separated gray values, or
        pa.field("image", pa.binary()),  # an encoded image; the other is null
        pa.field("votes", VOTES),  # FER+ votes; null where none were given
    ]
)
"""data/raw/faces.parquet: each row of the source as it was found."""

PROCESSED: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # "00000012", of an augmented copy "00000012-a1"
        pa.field("row", pa.int64(), nullable=False),  # position in the source
        pa.field("name", pa.string(), nullable=False),
        pa.field("usage", pa.string()),  # the source's own word
        pa.field("split", pa.string(), nullable=False),  # one of SPLITS
        pa.field("label", pa.int8(), nullable=False),  # index into labels.EMOTIONS
        pa.field("image", pa.binary(), nullable=False),  # 48 * 48 gray bytes, row by row, ready for the model
        pa.field("content_hash", pa.string(), nullable=False),  # of the 48x48 image before denoising and contrast
        pa.field("perceptual_hash", pa.string(), nullable=False),
        pa.field("copies", pa.int32(), nullable=False),  # rows of the whole table with the same content, itself included
        pa.field("copy_rank", pa.int32(), nullable=False),  # 0 for the first row of its content within its split
        pa.field("in_train", pa.bool_(), nullable=False),  # a row of train has the same content (true for train rows)
        pa.field("near_in_train", pa.bool_(), nullable=False),  # the same for the perceptual hash
        pa.field("conflicting", pa.bool_(), nullable=False),  # rows of the same content carry other labels
        pa.field("brightness", pa.float32(), nullable=False),  # mean gray value, 0..255
        pa.field("contrast", pa.float32(), nullable=False),  # standard deviation of the gray values
        pa.field("flat", pa.bool_(), nullable=False),  # one single gray value
        pa.field("low_contrast", pa.bool_(), nullable=False),  # contrast below preprocess.low_contrast_below
        pa.field("augmented", pa.bool_(), nullable=False),  # made by class balancing, train only
        pa.field("votes", VOTES),
    ]
)
"""data/processed/faces/*.parquet: what training and evaluation read."""

QUARANTINE: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("emotion", pa.string()),
        pa.field("usage", pa.string()),
        pa.field("reason", pa.string(), nullable=False),  # short code: "pixel-count", "pixel-range", "label", "usage", ...
        pa.field("detail", pa.string(), nullable=False),  # value received and what was expected
    ]
)
"""data/quarantine/rows.parquet: each row that was left out, and the reason."""
