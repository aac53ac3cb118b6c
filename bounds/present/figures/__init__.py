"""Figures of a study, drawn from its results alone; every panel takes ``ax=``."""

from bounds.present.figures.anytime import anytime_data, anytime_figure, anytime_panel
from bounds.present.figures.fair import fair_data, fair_figure, fair_panel
from bounds.present.figures.finetuned import (
    accuracy_data,
    accuracy_figure,
    representation_data,
    representation_figure,
    training_data,
    training_figure,
)
from bounds.present.figures.formats import format_data, format_figure, format_panel
from bounds.present.figures.heldout import heldout_data, heldout_figure, heldout_panel
from bounds.present.figures.losses import loss_data, loss_figure, loss_panel
from bounds.present.figures.ranges import (
    caption,
    corners,
    optimum,
    range_data,
    range_figure,
    range_panel,
)
from bounds.present.figures.style import WIDTHS, save_data, save_figure
from bounds.present.figures.verdicts import leads, verdict_panel

__all__ = [
    "FINETUNE_KINDS",
    "KINDS",
    "WIDTHS",
    "accuracy_data",
    "accuracy_figure",
    "anytime_data",
    "anytime_figure",
    "anytime_panel",
    "caption",
    "corners",
    "fair_data",
    "fair_figure",
    "fair_panel",
    "format_data",
    "format_figure",
    "format_panel",
    "heldout_data",
    "heldout_figure",
    "heldout_panel",
    "leads",
    "loss_data",
    "loss_figure",
    "loss_panel",
    "optimum",
    "range_data",
    "range_figure",
    "range_panel",
    "representation_data",
    "representation_figure",
    "save_data",
    "save_figure",
    "training_data",
    "training_figure",
    "verdict_panel",
]

#: Figures of a study by name: how each is drawn, and the data it draws.
KINDS = {
    "ranges": (range_figure, range_data),
    "losses": (loss_figure, loss_data),
    "heldout": (heldout_figure, heldout_data),
    "formats": (format_figure, format_data),
}
#: Figures of a fine-tuning study, from its two tables.
FINETUNE_KINDS = {
    "accuracy": (accuracy_figure, accuracy_data),
    "representation": (representation_figure, representation_data),
    "training": (training_figure, training_data),
}
