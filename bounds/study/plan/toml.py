"""Studies as TOML files: read with every key checked, and written back."""

from __future__ import annotations

import json
import math
import re
import tomllib
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bounds.errors import StudyError
from bounds.study.plan.config import Calibration, LayerChoice, Solve, Study, faults, spell

#: The tables of a study file, by the key they stand under.
SECTIONS = {"calibration": Calibration, "solve": Solve}


def bundled_studies() -> list[str]:
    """Names of the studies that ship in the package."""
    return bundled_names("bounds.study")


def bundled_names(room: str) -> list[str]:
    """Names of the TOML files that ship in the folder ``bundled`` of a package."""
    folder = resources.files(room) / "bundled"
    return sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml"))


def load_study(file_or_name: str | Path) -> Study:
    """Read a study from a TOML file, or one of the bundled ones by its name.

    Raises:
        StudyError: no such file or study, not TOML, an unknown key or an impossible value; the
            message gives the line to mend.
    """
    absent = "there is no study file {}; give a TOML file or one of the bundled studies: "
    return parse_study(*read_toml(file_or_name, "bounds.study", absent))


def read_toml(file_or_name: str | Path, room: str, absent: str) -> tuple[str, str]:
    """The text of a TOML file, or of one that ships with package ``room``, and what to call it.

    Raises:
        StudyError: it cannot be read, or is not there: ``absent``, with its path and the names.
    """
    path = Path(file_or_name)
    if not path.is_file():
        names = bundled_names(room)
        if str(file_or_name) not in names:
            raise StudyError(absent.format(path) + ", ".join(names))
        source = resources.files(room) / "bundled" / f"{file_or_name}.toml"
        return source.read_text("utf-8"), f"{file_or_name}.toml"
    try:
        return path.read_text("utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read as UTF-8 text: {error}") from error


def parse_study(text: str, where: str = "study") -> Study:
    """A study from the text of a TOML file; ``where`` opens the messages of its errors.

    Raises:
        StudyError: see ``load_study``.
    """
    reader = Reader(text, where)
    table = reader.table()
    values = reader.checked(Study, {k: v for k, v in table.items() if k not in SECTIONS}, "", 0)
    for name, kind in SECTIONS.items():
        if name in table:
            values[name] = kind(**reader.checked(kind, table[name], name, 0))
    values["layers"] = tuple(
        LayerChoice(**reader.checked(LayerChoice, item, "layers", i))
        for i, item in enumerate(values["layers"])
    )
    try:
        return Study(**values)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def format_study(study: Study) -> str:
    """The study as TOML, every value written out; ``parse_study`` gives the same study back."""
    lines = [f"name = {toml_value(study.name)}", f"seed = {toml_value(study.seed)}"]
    for name in SECTIONS:
        lines += ["", f"[{name}]", *assignments(getattr(study, name))]
    for choice in study.layers:
        lines += ["", "[[layers]]", *assignments(choice)]
    return "\n".join(lines) + "\n"


def assignments(part: Any) -> list[str]:
    """The lines ``key = value`` of a dataclass; what is None is left out."""
    assert is_dataclass(part)
    values = {item.name: getattr(part, item.name) for item in fields(part)}
    # TOML has no null: what is None is left out, and None is what leaving it out means.
    return [f"{key} = {toml_value(value)}" for key, value in values.items() if value is not None]


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


class Reader:
    """Checks tables against dataclasses, and finds the line that a complaint is about."""

    def __init__(self, text: str, where: str) -> None:
        """``where`` opens the messages of errors."""
        self.text, self.lines = text, text.splitlines()
        self.where = where

    def table(self) -> dict[str, Any]:
        """The text as a table, unchecked; StudyError where it is not TOML."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise StudyError(f"{self.where} is not TOML: {error}") from error

    def checked(self, kind: type, table: Any, section: str, nth: int) -> dict[str, Any]:
        """The values of a table that all keep the rules of dataclass ``kind``.

        Raises:
            StudyError: one does not, or its key is unknown; with the line to mend.
        """
        if not isinstance(table, dict):
            raise self.error(section, nth, None, f"{section} must be a table of keys and values")
        known = [item.name for item in fields(kind)]
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        for key in values:
            if key not in known:
                full = spell(section, key)
                place = {"": "the top of a study", "layers": "[[layers]]"}.get(
                    section, f"[{section}]"
                )
                sentence = f"unknown key {full}; {place} may have {', '.join(known)}"
                raise self.error(section, nth, key, sentence)
        for key, sentence in faults(kind, values):
            raise self.error(section, nth, key, f"{spell(section, key)}: {sentence}")
        return values

    def error(self, section: str, nth: int, key: str | None, sentence: str) -> StudyError:
        """The sentence as an error that begins with its place."""
        line = self._line(section, nth, key)
        place = f"{self.where}, line {line}" if line else self.where
        return StudyError(f"{place}: {sentence}")

    def _line(self, section: str, nth: int, key: str | None) -> int | None:
        """Line of ``key`` in the nth table ``section``; of the table's header without the key."""
        header = re.compile(r"\s*\[\[?\s*([\w.-]+)\s*\]\]?\s*(#.*)?$")
        wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else None
        current, start, seen = "", None, 0
        for number, line in enumerate(self.lines, start=1):
            if match := header.match(line):
                current = match[1]
                if current == section:
                    start, seen = (number, seen) if seen == nth else (start, seen)
                    seen += 1
                elif current == key and not section:
                    return number
            elif (
                current == section
                and (not section or seen == nth + 1)
                and wanted is not None
                and wanted.match(line)
            ):
                return number
        return start
