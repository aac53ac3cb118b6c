"""The one hierarchy of errors a user can meet; ``bounds.errors`` extends it."""


class LayerboundsError(Exception):
    """Base of every error this project raises on purpose; the message names the mend."""


class SourceError(LayerboundsError):
    """A network cannot be found, built or loaded."""


class CalibrationError(LayerboundsError):
    """The calibration images are missing, unreadable or too few."""


class CaptureError(LayerboundsError):
    """A layer cannot be captured: unknown, unsupported, never fired, fired twice, not finite."""


class DumpError(LayerboundsError):
    """A dump on disk is missing, truncated, altered, foreign or of a newer version."""


class FinetuneError(LayerboundsError):
    """A network cannot be trained: data, labels, layers, loss, or a foreign checkpoint."""
