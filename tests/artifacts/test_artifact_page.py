"""The guide to artifacts does what it says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from foundation import doc_examples

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "artifacts.md"


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "120", "EVALDOCK_ARTIFACTS": str(tmp_path / "kept")}
    assert doc_examples.run(PAGE, tmp_path, environment) == 4
