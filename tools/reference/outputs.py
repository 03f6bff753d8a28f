"""Describe the fields of results, from their schema."""

from __future__ import annotations

from fer_pipeline.inference.output_schema import DIGITS, FIELDS, SCHEMA_VERSION, SUM_TOLERANCE, Field, Table, columns

_HEAD = f"""# Outputs

Results have the same fields with the same names everywhere: `recognize(...)` in Python, `fer predict --json` and `--csv`,
`fer score`, `fer video`, and HTTP. This is version {SCHEMA_VERSION} of the schema, `schema_version` in JSON and
`fer_schema_version` in the metadata of Parquet files; it grows when a field goes, or changes its name, type or meaning. New
fields may come without that. This page is made from `fer_pipeline/inference/output_schema.py` by
`python -m tools.reference`.

- Floats have at most {DIGITS} decimals, boxes, sizes and degrees one. So the seven probabilities sum to 1 within
  {SUM_TOLERANCE:g}.
- In tables, a picture without a face has one row, with 0 `faces`, and one that cannot be read has one row with its `error`;
  what belongs to a face is empty there.
- An empty cell, or null, means that there is no such value: boxes where the picture was given as one face, poses where the
  face detector gives no landmarks.
- The name of the model ends with "(drawn faces)", as in "fer/1 (drawn faces)", where it was trained on generated faces. Such an
  answer is for trying the pipeline and says nothing of real people; these models answer only where they are named.

"""
_JSON = """## JSON

`fer predict --json` prints one object per picture and line, and `recognize(...).as_dicts()` returns them. `POST /predict`
answers with the same object without `file` and `error` (an error has an HTTP status), with more about the `model`, with
`milliseconds`, and, where the operator takes corrections, with a `feedback` token for each face. Each item of
`POST /predict/batch` has `picture`, `faces` and `error`.

```json
{"schema_version": 1, "file": "two.jpg", "picture": {"width": 1200, "height": 800},
 "faces": [{"box": {"x": 734.0, "y": 412.0, "width": 203.0, "height": 203.0},
            "relative_box": {"x": 0.6117, "y": 0.515, "width": 0.1692, "height": 0.2537},
            "detection_score": 0.9312, "rotation": 0, "emotion": "happy", "top_emotion": "happy", "confidence": 0.9701,
            "probabilities": {"angry": 0.0012, "disgust": 0.0001, "fear": 0.0021, "happy": 0.9701, "sad": 0.0199,
                              "surprise": 0.0025, "neutral": 0.0041},
            "quality": {"size": 241.0, "sharpness": 1893.4, "brightness": 121.7, "outside": 0.0},
            "pose": null, "reasons": []}],
 "model": {"name": "fast", "fingerprint": "828ad45c506b"}, "error": null}
```

A line of a video's `faces.jsonl` is one face of one frame: the values of `faces[]` beside `frame`, `time`, `track`,
`detected`, `smoothed_emotion`, `smoothed` and `model`. A frame of the WebSocket `/live` has them without `frame`, `time` and
`model` in each face. A video's `summary.json` has `schema_version` and `model`, too.

## Fields
"""
_TABLES: tuple[tuple[Table, str], ...] = (
    ("pictures", "`fer predict --csv` and `recognize(...).to_pandas()`"),
    ("scores", "`fer score`, `faces/*.parquet`"),
    ("video", "`fer video`, `faces.csv` and `faces.parquet`"),
)


def page() -> str:
    """Return docs/outputs.md."""
    rows = ["| in JSON | in tables | type | meaning |", "|---|---|---|---|", *map(_row, FIELDS)]
    tables = [f"{title}:\n\n```text\n{_wrapped(columns(table))}\n```\n" for table, title in _TABLES]
    return "\n".join([_HEAD + _JSON, *rows, "", "## Columns of the tables, in order", "", *tables]).rstrip() + "\n"


def _row(field: Field) -> str:
    path, column = (f"`{name}`" if name else "" for name in (field.path, field.column))
    return f"| {path} | {column} | {field.kind}{', or null' if field.optional else ''} | {field.meaning} |"


def _wrapped(names: tuple[str, ...]) -> str:
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > 120:
            lines.append("")
        lines[-1] += f"{name}, "
    return "\n".join(line.strip() for line in lines).rstrip(",")
