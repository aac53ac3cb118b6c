"""What the whole suite needs, however it was started."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Let tests press Ctrl-C.

    A job that a script starts in the background (``make test &``) ignores SIGINT, and so would
    every process that a test starts and interrupts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


heed_interrupts()
