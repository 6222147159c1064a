"""A catalog whose images say the worst: every free text tries to become markup, a script or a template."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog import store
from catalog.models import Entry, EntryState, Harness, MappingEntry, Task
from synthetic import make_harness

# What runs anywhere calls alert(), which the browser of the tests notes; what is loaded comes from a host
# that the tests notice; what becomes an element has a name that no page of ours has.
TEXTS = {
    "script": "<script>alert('script')</script>",
    "script_end": "</script><script>alert('script end')</script>",
    "comment_end": "--><script>alert('comment end')</script><!--",
    "code_end": "</code></pre></div><hostile-element>code end</hostile-element><script>alert(1)</script>",
    "attribute": "\"><img src=x onerror=alert('attribute')>' onmouseover='alert(1)",
    "image": "<img src='http://hostile.invalid/pixel.png'>![pixel](http://hostile.invalid/markdown.png)",
    "frame": "<iframe srcdoc='<script>alert(1)</script>'></iframe><svg onload=alert(1)>",
    "link": "[press me](javascript:alert('markdown')) <a href=\"javascript:alert('html')\">press me too</a>",
    "autolink": "<javascript:alert('autolink')> javascript:alert('bare')",
    "jinja": "{{ 7 * 191 }} {% for x in range(9) %}hostile{% endfor %} {{ self.__init__.__globals__ }}",
    "myst_directive": "```{raw} html\n<script>alert('myst')</script>\n```\n:::{include} /etc/passwd\n:::",
    "myst_role": "{eval:task}`nowhere` {download}`/etc/passwd` {{ substitution }}",
    "rst": ".. raw:: html\n\n   <script>alert('rst')</script>\n\n.. include:: /etc/passwd",
    "heading": "# A heading\n\n## Another\n\n---\nfront: matter\n---",
    "controls": "a\x1b]0;title\x07b\x1b[31mred \u202edcba\u202c \u2028 \u2029 \x00 end",
    "template_literal": "${alert('literal')} `${alert(1)}` \\u003cscript\\u003e \\",
    "entities": "&lt;script&gt;alert(1)&lt;/script&gt; &#x3c;script&#x3e;alert(2)",
    "long_word": "w" * 5_000,
    "long_text": "A sentence of a book that somebody put into a description. " * 1_800,  # 100 KB
    "emoji": "🧪" * 300 + " e\u0301" * 100,
}


def make_hostile_catalog(root: Path) -> Path:
    """One harness with a task for each text, in every place that takes free text."""
    root.mkdir(parents=True)
    everything = " ".join(text for name, text in TEXTS.items() if not name.startswith("long"))
    harness = _harness(everything)
    mapping = MappingEntry(key="hostile", container="registry.example/hostile:1")
    text = f'[hostile]\ncontainer = "{mapping.container}"\n'.encode()
    (root / "mapping.toml").write_bytes(text)
    reason = everything
    entry = Entry(
        mapping=mapping, state=EntryState.STALE, reason=reason, image=harness.image, harnesses=(harness,)
    )
    store.write(root, hashlib.sha256(text).hexdigest(), [entry])
    return root


def _harness(everything: str) -> Harness:
    plain = make_harness(0, 1)
    return replace(
        plain,
        name="hostile",
        entry="hostile",
        image=replace(plain.image, container="registry.example/hostile:1"),
        full_name=f"Hostile {everything}",
        description=everything,
        url="javascript:alert('url')",
        tasks=tuple(_task(plain.tasks[0], name, text) for name, text in TEXTS.items()),
    )


def _task(plain: Task, name: str, text: str) -> Task:
    short = text[:2_000]
    config: dict[str, Any] = {
        "type": name,
        "params": {"extra": {"value": text, short[:200]: "as a key"}},
        "supported_endpoint_types": ["chat", short[:120]],
        "required_capabilities": [short[:120]],
    }
    return replace(
        plain,
        harness="hostile",
        name=name,
        title=f"Title {short}",
        description=text,
        defaults={
            "command": f"run --model {{{{target.api_endpoint.model_id}}}} # {{% raw %}}{text}{{% endraw %}}",
            "framework_name": "hostile",
            "pkg_name": "hostile",
            "config": config,
            "target": {},
        },
    )
