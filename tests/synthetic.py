"""Catalogs of any size, written through the real store: for the site, listings and benchmarks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog import store
from catalog.models import Entry, EntryState, FrameworkSource, Harness, Image, MappingEntry, Task

SUBJECTS = ("math", "code", "safety", "reading", "law", "medicine", "tools", "vision", "speech", "retrieval")
ENDPOINTS = (("chat",), ("completions",), ("chat", "completions"), ("embedding",), ("vlm",), ())
CAPABILITIES = ((), (), ("logprobs",), ("tools",), ("image_url", "multi_image_url"))
PLATFORMS = (("linux/amd64",), ("linux/amd64", "linux/arm64"), ("linux/arm64",), ())

COMMAND = """\
{% if target.api_endpoint.api_key_name is not none %}
export API_KEY=${{target.api_endpoint.api_key_name}} && {% endif %}
synthetic-eval --url {{target.api_endpoint.url}} --model {{target.api_endpoint.model_id}}
  --task {{config.params.task}} --parallelism {{config.params.parallelism}}
  {% if config.params.limit_samples is not none %}--limit {{config.params.limit_samples}}{% endif %}
  --output {{config.output_dir}}"""


def make_catalog(root: Path, *, harnesses: int = 5, tasks: int = 40, stale: int = 0) -> Path:
    """Writes a catalog that verifies, `tasks` spread over `harnesses`; gives back `root`.

    Equal arguments give equal bytes. The last `stale` entries failed their last read. Some harnesses and
    tasks lack what they may lack: titles, URLs, endpoint types, platforms, descriptions.
    """
    root.mkdir(parents=True, exist_ok=True)
    sizes = [tasks // harnesses + (at < tasks % harnesses) for at in range(harnesses)]
    entries = [_entry(at, size, stale=at >= harnesses - stale) for at, size in enumerate(sizes)]
    mapping = "\n".join(_table(entry.mapping) for entry in entries).encode()
    (root / "mapping.toml").write_bytes(mapping)
    store.write(root, hashlib.sha256(mapping).hexdigest(), entries)
    return root


def make_harness(at: int, tasks: int) -> Harness:
    """Harness number `at`, with so many tasks."""
    return _entry(at, tasks, stale=False).harnesses[0]


def _table(entry: MappingEntry) -> str:
    lines = [f"[{entry.key}]", f'container = "{entry.container}"']
    if entry.platform:
        lines.append(f'platform = "{entry.platform}"')
    for name in ("packages", "abilities"):
        values: Sequence[str] = getattr(entry, name)
        if values:
            lines.append(f"{name} = [{', '.join(map(repr, values))}]")
    return "\n".join(lines) + "\n"


def _entry(at: int, size: int, *, stale: bool) -> Entry:
    chance = random.Random(at)
    name = f"harness-{at:03}"
    container = f"registry.example/evals/{name}:1.{at}"
    mapping = MappingEntry(
        key=name,
        container=container,
        packages=(f"{name}==1.{at}",) if at % 3 == 0 else (),
        abilities=("resume", "shards")[: at % 3],
    )
    digest = _digest(f"image {at}")
    image = Image(
        container=container,
        digest=digest,
        manifest_digest=_digest(f"manifest {at}") if at % 2 else digest,
        platform="linux/amd64",
        platforms=PLATFORMS[at % len(PLATFORMS)],
        complete=at % 4 != 3,
    )
    state = EntryState.STALE if stale else EntryState.CURRENT
    reason = "the registry did not answer" if stale else None
    harness = Harness(
        name=name,
        entry=name,
        pkg_name=name.replace("-", "_"),
        image=image,
        sources=(
            FrameworkSource(
                path=f"/opt/metadata/{name}/framework.yml",
                layer=_digest(f"layer {at}"),
                sha256=_digest(f"file {at}").removeprefix("sha256:"),
            ),
        ),
        tasks=tuple(_task(name, number, chance) for number in range(size)),
        full_name=None if at % 5 == 4 else f"Synthetic Harness {at}",
        description=None if at % 5 == 3 else f"Harness number {at}, made for tests of {SUBJECTS[at % 10]}.",
        url=None if at % 5 == 2 else f"https://synthetic.example/{name}",
        command=COMMAND if size else None,
        packages=mapping.packages,
        abilities=mapping.abilities,
        state=state,
        reason=reason,
    )
    return Entry(mapping=mapping, state=state, reason=reason, image=image, harnesses=(harness,))


def _task(harness: str, number: int, chance: random.Random) -> Task:
    subject = SUBJECTS[number % len(SUBJECTS)]
    name = f"{subject}_{number:05}"
    endpoints, capabilities = chance.choice(ENDPOINTS), chance.choice(CAPABILITIES)
    params: dict[str, Any] = {
        "parallelism": chance.choice((1, 8, 10, 16)),
        "max_new_tokens": chance.choice((512, 4096, 32768)),
        "temperature": chance.choice((0.0, 0.6, 1e-07)),
        "top_p": 0.95,
        "request_timeout": 3600,
        "task": name,
        "extra": {
            "seed": number,
            "subset": subject,
            "prompt": None,
            "judge": {"model": None, "parallelism": 4},
        },
    }
    config: dict[str, Any] = {"params": params, "type": name}
    if endpoints:
        config["supported_endpoint_types"] = list(endpoints)
    if capabilities:
        config["required_capabilities"] = list(capabilities)
    words = " ".join(chance.sample(SUBJECTS, 4))
    return Task(
        harness=harness,
        name=name,
        title=f"{subject.title()} {number}" if number % 2 else None,
        description="" if number % 17 == 16 else f"Asks about {subject}: questions on {words}, set {number}.",
        internal=number % 29 == 28,
        defaults={
            "command": COMMAND,
            "framework_name": harness,
            "pkg_name": harness.replace("-", "_"),
            "config": config,
            "target": {"api_endpoint": {"stream": False}},
        },
    )


def _digest(seed: str) -> str:
    return f"sha256:{hashlib.sha256(seed.encode()).hexdigest()}"
