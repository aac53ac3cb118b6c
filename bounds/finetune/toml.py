"""Fine-tuning studies as TOML files, read as ``bounds.study.plan.toml`` reads studies."""

from __future__ import annotations

from pathlib import Path

from bounds.finetune.config import (
    FinetuneStudy,
    Judge,
    Pretrain,
    Pruning,
    Quantization,
    Task,
    Train,
)
from bounds.study.plan.toml import Reader, assignments, bundled_names, read_toml, toml_value

SECTIONS = {kind.section: kind for kind in (Task, Pretrain, Train, Quantization, Pruning, Judge)}
TOP = ("name", "bits", "seeds", "workers", "device")


def bundled_finetunes() -> list[str]:
    """Names of the fine-tuning studies that ship in the package."""
    return bundled_names("bounds.finetune")


def load_finetune(file_or_name: str | Path) -> FinetuneStudy:
    """Read a fine-tuning study from a TOML file, or one of the bundled ones by its name.

    Raises:
        StudyError: no such file or study, not TOML, an unknown key or an impossible value; the
            message gives the line to mend.
    """
    absent = "there is no fine-tuning study {}; give a TOML file or one of the bundled ones: "
    return parse_finetune(*read_toml(file_or_name, "bounds.finetune", absent))


def parse_finetune(text: str, where: str = "study") -> FinetuneStudy:
    """A fine-tuning study from the text of a TOML file; ``where`` opens its errors.

    Raises:
        StudyError: see ``load_finetune``.
    """
    reader = Reader(text, where)
    table = reader.table()
    top = {k: v for k, v in table.items() if k not in SECTIONS}
    values = reader.checked(FinetuneStudy, top, "", 0)
    for name, kind in SECTIONS.items():
        if name in table:
            values[name] = kind(**reader.checked(kind, table[name], name, 0))
    return FinetuneStudy(**values)


def format_finetune(study: FinetuneStudy) -> str:
    """The study as TOML, every value written out; ``parse_finetune`` gives the same study back."""
    lines = [f"{name} = {toml_value(getattr(study, name))}" for name in TOP]
    for name in SECTIONS:
        lines += ["", f"[{name}]", *assignments(getattr(study, name))]
    return "\n".join(lines) + "\n"
