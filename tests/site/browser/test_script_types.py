"""The scripts of the site hold together, and none of them could turn text into markup."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from generator.site.settings import STATIC
from services.browser import Node

SCRIPTS = sorted(STATIC.glob("*.js"))


def test_types(node: Node) -> None:
    compiler = node.folder / "node_modules" / "typescript" / "bin" / "tsc"
    project = Path(__file__).with_name("tsconfig.json")
    done = subprocess.run(
        [str(node.program), str(compiler), "-p", str(project)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == ""
    assert done.returncode == 0


def test_no_script_writes_markup_or_runs_text() -> None:
    assert SCRIPTS
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\("
    )
    for script in SCRIPTS:
        assert not forbidden.search(script.read_text()), script.name
