"""The command line ``layerbounds``."""

from bounds.cli.app import main

__all__ = ["main"]
