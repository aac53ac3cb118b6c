"""Figures of a study, drawn from its results alone; every panel takes ``ax=``."""

from bounds.present.figures.anytime import anytime_data, anytime_figure, anytime_panel
from bounds.present.figures.fair import fair_data, fair_figure, fair_panel
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
    "KINDS",
    "WIDTHS",
    "anytime_data",
    "anytime_figure",
    "anytime_panel",
    "caption",
    "corners",
    "fair_data",
    "fair_figure",
    "fair_panel",
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
    "save_data",
    "save_figure",
    "verdict_panel",
]

#: Figures of a study by name: how each is drawn, and the data it draws.
KINDS = {
    "ranges": (range_figure, range_data),
    "losses": (loss_figure, loss_data),
    "heldout": (heldout_figure, heldout_data),
}
