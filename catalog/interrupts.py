"""Interruptions that Python would lose."""

from __future__ import annotations

import _thread
import os
import sys
import time

SOON = 0.05  # seconds: by then the call that lost it has returned


def keep_interrupts() -> None:
    """Raises a KeyboardInterrupt again that came while Python called back about an object that is gone.

    Such a call (`__del__`, a weak reference's, of which the import system has one for each module) can raise
    nothing: Python gives it to `sys.unraisablehook`, which prints it, and goes on. To be called in the main
    thread.
    """
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            # Not by `threading`, one of whose locks may be held where this is called.
            _thread.start_new_thread(_interrupt, ())
        else:
            before(lost)

    sys.unraisablehook = hook


def _interrupt() -> None:
    import signal  # noqa: PLC0415 # most commands are never interrupted

    time.sleep(SOON)
    os.kill(os.getpid(), signal.SIGINT)
