"""What `evaldock run --dry-run` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from difflib import unified_diff
from typing import Any

from catalog.console import out, print_json, safe
from launcher.plans.planning import Planned

# Characters of one word that are worth showing.
_LONGEST = 1000


def print_plan(planned: Planned, as_json: bool) -> None:
    """As JSON everything word for word; as text, what jobs have in common once."""
    from launcher.backends.protocol import load  # noqa: PLC0415
    from launcher.code.packaging import as_data, summary  # noqa: PLC0415
    from launcher.plans.plan_files import config_text, plan_to_data  # noqa: PLC0415

    plan, configuration = planned.plan, dict(planned.config)
    backend = load(plan.backend)
    sent = [dict(backend.plan(plan, job)) for job in plan.jobs]
    if as_json:
        code = [as_data(tree) for tree in planned.code]
        whole = {"plan": plan_to_data(plan), "configuration": configuration, "code": code}
        print_json({**whole, "submissions": sent})
        return
    import yaml  # noqa: PLC0415

    if configuration and any(job.kind != "recipe" for job in plan.jobs):
        out(f"# compiled configuration\n{safe(config_text(configuration))}")
    for tree in planned.code:
        out(safe(textwrap.indent(summary(tree), "# ")))
    above = _Above()
    for job, submission in zip(plan.jobs, sent, strict=True):
        scripts = submission.pop("scripts")
        own = {"configuration": dict(job.config)} if job.kind == "recipe" else {}
        model = f" for {job.endpoint.model_id}" if job.endpoint.model_id else ""
        out(safe(f"# {job.key}: {job.task}{model}, on {plan.backend}"))
        shown = _shortened({**own, **submission})
        out(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))
        for name, text in scripts.items():
            out(safe(above.told(job.key, name, text)))


class _Above:
    """Scripts that were printed whole. Those of a run's jobs are much alike: what stands above is told by
    what differs from it."""

    def __init__(self) -> None:
        self.whole: dict[str, tuple[str, list[str]]] = {}

    def told(self, key: str, name: str, text: str) -> str:
        title, lines = f"# ==> {name} <==", text.splitlines()
        like, others = self.whole.get(name, ("", []))
        # The first two lines name files.
        differing = list(unified_diff(others, lines, n=0, lineterm=""))[2:]
        if like and 3 * len(differing) < len(lines):
            return "\n".join([f"{title} of {like}{', but for' if differing else ''}", *differing, ""])
        self.whole[name] = (key, lines)
        return f"{title}\n{text}"


def _shortened(value: Any) -> Any:
    """Packed text is nothing to read, and what is in it stands below; `--json` has it whole."""
    if isinstance(value, str) and len(value) > _LONGEST and not any(map(str.isspace, value)):
        return f"{value[:20]}… ({len(value)} characters, whole with --json)"
    if isinstance(value, Mapping):
        return {key: _shortened(part) for key, part in value.items()}
    return [_shortened(part) for part in value] if isinstance(value, list) else value
