"""Warnings that library code logs, as lines like every other of a command."""

from __future__ import annotations

import logging

from catalog.console import one_line, warn

_OURS = ("catalog", "generator", "launcher")


class _ToConsole(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Its parts may come from a registry or an image.
        warn(one_line(record.getMessage()))


def show_warnings() -> None:
    """From now on. Whoever has configured logging already keeps it."""
    if logging.getLogger().handlers:
        return
    for name in _OURS:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(_ToConsole(level=logging.WARNING))
            logger.propagate = False
