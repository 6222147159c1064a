"""What harnesses and tasks may be called: their names become addresses, file names and arguments."""

from __future__ import annotations

import re

# Without a dot, so that `harness.task` can be taken apart again.
HARNESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,99}")
TASK = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+-]{0,148}[A-Za-z0-9_+-])?")

HARNESS_RULE = "letters, digits, '_', '-' and '+', at most 100, none of '-' and '+' first"
TASK_RULE = "letters, digits, '_', '-', '+' and '.', at most 150, none of '-', '+' and '.' first, no '.' last"
