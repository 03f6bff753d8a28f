"""Translate the labels of a source: numbers, and the eighth emotion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from fer_pipeline.config.params import FetchParams
from fer_pipeline.data.raw_table import Notes, RawRow
from fer_pipeline.errors import SourceError
from fer_pipeline.labels import CONTEMPT, EMOTIONS, NUMBERINGS, common_name, label_number, numbering_codes

MAX_CONTEMPT_SHARE: Final = 0.01
"""Largest share of rows with the label 7 in a table that is taken as FER-2013's own, which has 0 to 6."""


@dataclass
class LabelReader:
    """Read the labels of one source as `fetch.numbering` and `fetch.contempt` say.

    Labels stay as they are found, but for numbers of another numbering than FER-2013's, which become names, and for what
    contempt is mapped to. `notes` counts what is left out.
    """

    origin: Path
    params: FetchParams
    notes: Notes
    _numbers: set[int] = field(default_factory=set)
    _inferred: bool = False

    def check_classes(self, folders: Iterable[str]) -> None:
        """Check the names of all class folders.

        Raises `SourceError` where some are numbers and no numbering is given or the one given lacks a number, and where there is
        a folder of contempt and `fetch.contempt` is "refuse".
        """
        found = set(folders)
        self._numbers = {number for folder in found if (number := label_number(folder)) is not None}
        if self._numbers and self.params.numbering == "ask":
            raise SourceError(_which_numbering(self.origin, sorted(self._numbers)))
        for folder in sorted(found):
            number = label_number(folder)
            if number is not None and number not in self._codes:
                raise SourceError(
                    f"{self.origin}: folder {folder!r} is no class of fetch.numbering {self.params.numbering}, which has "
                    f"{_spelled(self._codes)}: {_hint(sorted(self._numbers))}"
                )
            if self._name(folder) == CONTEMPT and self.params.contempt == "refuse":
                raise SourceError(_contempt(f"{self.origin}: folder {folder!r}"))

    def label(self, found: str, example: str) -> str | None:
        """Return the label to keep; None where `example`, a row or image, is left out."""
        name = self._name(found)
        if name == CONTEMPT:
            if self.params.contempt == "refuse":
                raise SourceError(_contempt(f"{self.origin}: {example}, label {found!r},"))
            if self.params.contempt == "drop":
                self.notes.add("pictures of contempt, left out", example)
                return None
            self.notes.add(f"pictures of contempt, taken as {self.params.contempt}", example)
            return self.params.contempt
        number = label_number(found)
        if number is None or (name in EMOTIONS and EMOTIONS.index(name) == number):
            return found
        if name is None:  # preprocess puts it into quarantine, and takes 0 to 6 as FER-2013's
            return found if number >= len(EMOTIONS) else f"{found} (no class of {self._numbering})"
        if name not in EMOTIONS:
            self.notes.add(f"pictures without an emotion ({name}), left out", example)
            return None
        return name

    def table_rows(self, rows: Iterator[RawRow]) -> Iterator[RawRow]:
        """Yield the rows of a FER-2013 table with their labels; some are left out.

        Without a numbering it is FER-2013's. Raises `SourceError` where there is contempt to refuse, or after the last row where
        the label 7 is so frequent that the numbering is another one.
        """
        self._inferred = self.params.numbering == "ask"
        count = sevens = 0
        for row in rows:
            count += 1
            number = label_number(row.emotion or "")
            if number is not None:
                self._numbers.add(number)
                sevens += number == 7
            if row.emotion is None:
                yield row
            elif (label := self.label(row.emotion, row.name)) is not None:
                yield replace(row, emotion=label)
        if self._inferred and sevens > MAX_CONTEMPT_SHARE * count:
            raise SourceError(
                f"{self.origin} has the label 7 in {sevens:,} of {count:,} rows, so it is not FER-2013's own table, which has 0 "
                f"to 6: {_hint(list(range(8)))}; the labels of FER-2013 with 7 for contempt are {','.join((*EMOTIONS, CONTEMPT))}"
            )

    def summary(self) -> str:
        """Describe how the labels were read; call it when all are read."""
        if not self._numbers:
            return "names"
        reason = "inferred from its columns" if self._inferred else "fetch.numbering"
        meaning = ", ".join(f"{code} {name}" for code, name in self._codes.items() if code in self._numbers)
        return f"numbers of {self._numbering} ({reason}): {meaning}"

    @property
    def _numbering(self) -> str:
        return "fer2013" if self.params.numbering == "ask" else self.params.numbering

    @cached_property
    def _codes(self) -> Mapping[int, str]:
        return numbering_codes(self._numbering)

    def _name(self, found: str) -> str | None:
        number = label_number(found)
        return common_name(found) if number is None else self._codes.get(number)


def _contempt(subject: str) -> str:
    return (
        f"{subject} is contempt, which is none of {', '.join(EMOTIONS)}: say what becomes of it with `fer data add PATH "
        "--contempt WORD`, or set fetch.contempt in params.yaml, to drop or to the emotion that it counts as"
    )


def _which_numbering(origin: Path, numbers: Sequence[int]) -> str:
    return (
        f"{origin}: the class folders {', '.join(map(str, numbers))} are numbers, and data sets number the emotions differently: "
        f"{_hint(numbers)}"
    )


def _hint(numbers: Sequence[int]) -> str:
    """Say which word to set: what the numbers mean in each numbering that has them."""
    fitting = {name: codes for name, codes in NUMBERINGS.items() if set(numbers) <= set(codes)}
    choices = "".join(f"{name} ({' '.join(codes[number] for number in numbers)}), " for name, codes in fitting.items())
    return (
        f"give `fer data add PATH --numbering WORD`, or set fetch.numbering in params.yaml, to {choices}"
        f"{'or ' if choices else ''}the emotions in their order from 0, such as neutral,happy,sad,surprise,fear,disgust,angry"
    )


def _spelled(codes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(codes)))
