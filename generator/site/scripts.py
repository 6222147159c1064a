"""Data as JavaScript."""

from __future__ import annotations

import json
from typing import Any

from generator.site.templating import command_html


def script_value(value: Any) -> str:
    """`value` as a JavaScript expression. `<` is escaped, so that no text in it can end a script element or
    open a comment wherever the script is put; so are line ends that older JavaScript forbids in strings."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def command_script(template: str) -> str:
    """Puts a command's template where a page left room for it."""
    return (
        "for (const place of document.querySelectorAll('[data-ed-template]')) "
        f"place.innerHTML = {script_value(str(command_html(template)))};\n"
    )
