"""What the GitHub actions `action/check`, `site` and `refresh` run: `python -m generator.action NAME`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import EvaldockError, UsageError
from catalog.github.workflow_inputs import Inputs
from catalog.github.workflow_step import Workflow, problem, say, switch_signals

# GitHub shows ten errors of a step; the log shows all.
_MOST_LINKS = 10
# What a pull request's checkout has as its first parent: the branch that it is to be merged into.
_MERGED_INTO = "HEAD^1"
TOKEN = "EVALDOCK_TOKEN"  # noqa: S105 # the name of the variable


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInputs:
    catalog: Path | None
    remote: bool
    base: str
    sarif: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInputs:
    catalog: Path | None
    output: Path
    title: str
    source: Path | None
    strict: bool
    check_links: bool


def check(workflow: Workflow) -> int:
    read = Inputs(workflow.environ, workflow.workspace)
    inputs = CheckInputs(
        catalog=read.path("catalog"),
        remote=read.flag("remote"),
        base=read.text("base"),
        sarif=read.path("sarif"),
    )
    read.done()
    if inputs.sarif and not inputs.sarif.resolve().is_relative_to(workflow.workspace.resolve()):
        raise UsageError("sarif: the file must lie in the repository's folder")
    root = workflow.catalog(inputs.catalog)
    unread = _prepare(workflow, root)
    arguments = ["check", f"--catalog={root}", *(["--remote"] if inputs.remote else [])]
    found = workflow.evaldock(*arguments, "--format=json")
    if not found.out:
        raise EvaldockError(problem(found.said))
    errors = [each for each in found.data["findings"] if each["severity"] == "error"]
    # Again for its form: what is said where a runner turns it into annotations.
    say(workflow.evaldock(*arguments, "--format=github").out)
    workflow.output("findings", str(len(errors)))
    if inputs.sarif:
        inputs.sarif.parent.mkdir(parents=True, exist_ok=True)
        inputs.sarif.write_text(workflow.evaldock(*arguments, "--format=sarif").out)
        workflow.output("sarif", str(inputs.sarif))
    workflow.summary(_verdict(found.code, len(errors)))
    _difference(workflow, root, inputs.base)
    return found.code or unread


def _prepare(workflow: Workflow, root: Path) -> int:
    """A catalog that is only a mapping.toml is checked by reading its images; what fails stands as stale."""
    try:
        workflow.prepare(root)
    except EvaldockError as error:
        say(error.message)
        return error.exit_code
    return 0


def _verdict(code: int, errors: int) -> str:
    if code == 0:
        return "### The catalog agrees with itself"
    if not errors:
        return "### A registry could not be asked"
    return f"### The catalog does not agree: {errors} error{'' if errors == 1 else 's'}"


def _difference(workflow: Workflow, root: Path, base: str) -> None:
    """What changes, task by task; a hint where the checkout is too shallow to say."""
    asked = bool(base)
    if not asked and workflow.environ.get("GITHUB_EVENT_NAME") not in ("pull_request", "pull_request_target"):
        return
    compared = (f"--catalog={root}", "--", base or _MERGED_INTO)
    done = workflow.evaldock("diff", "--json", *compared)
    if done.code and asked:
        workflow.error(problem(done.said), title="evaldock: nothing to compare with")
    elif done.code:
        workflow.summary("_To see what changes in the catalog, check out with `fetch-depth: 2`._")
    else:
        workflow.output("changed", json.dumps(not done.data["equal"]))
        workflow.summary(workflow.evaldock("diff", "--format=markdown", *compared).out)


def site(workflow: Workflow) -> int:
    read = Inputs(workflow.environ, workflow.workspace)
    inputs = SiteInputs(
        catalog=read.path("catalog"),
        output=read.path("output") or workflow.workspace / "site",
        title=read.text("title"),
        source=read.path("source"),
        strict=read.flag("strict", default=True),
        check_links=read.flag("check-links", default=True),
    )
    read.done()
    root = workflow.catalog(inputs.catalog)
    workflow.prepare(root)
    arguments = ["build", f"--catalog={root}", f"--output={inputs.output}", "--json"]
    arguments += [f"--title={inputs.title}"] if inputs.title else []
    arguments += [f"--source={inputs.source}"] if inputs.source else []
    arguments += _repository(workflow)
    arguments += ["-W"] if inputs.strict else []
    with workflow.group("Build the site"):
        done = workflow.evaldock(*arguments)
    if done.code:
        workflow.error(problem(done.said))
        return done.code
    workflow.output("path", str(inputs.output))
    code = _follow_links(workflow, inputs.output) if inputs.check_links else 0
    workflow.summary(f"### The site has {done.data['tasks']} tasks\n")
    return code


def _repository(workflow: Workflow) -> list[str]:
    """Pages lead to the workflow that runs tasks where the repository has one."""
    if not (workflow.workspace / ".github" / "workflows" / "evaluate.yml").is_file():
        return []
    server, name = workflow.environ.get("GITHUB_SERVER_URL"), workflow.environ.get("GITHUB_REPOSITORY")
    return [f"--repository={server}/{name}"] if server and name else []


def _follow_links(workflow: Workflow, output: Path) -> int:
    from generator.page_links import broken_links  # noqa: PLC0415 # not for a check

    broken = broken_links(output)
    for one in broken[:_MOST_LINKS]:
        workflow.error(f"{one.page}: {one.link!r} {one.reason}", title="evaldock: a link is broken")
    with workflow.group("All links that lead nowhere"):
        for one in broken:
            say(f"{one.page}: {one.link!r} {one.reason}")
    return 1 if broken else 0


def refresh(workflow: Workflow) -> int:
    """Images read again; what changed becomes a pull request."""
    from generator.refreshing import Refresh  # noqa: PLC0415 # git, not for a check

    read = Inputs(workflow.environ, workflow.workspace)
    default = workflow.environ.get("GITHUB_REF_NAME", "")
    catalog, base = read.path("catalog"), read.branch("branch", default)
    head = read.branch("head", "evaldock/refresh")
    read.done()
    token = workflow.environ[TOKEN]
    clean = Workflow({name: value for name, value in workflow.environ.items() if name != TOKEN})
    return Refresh(clean, clean.catalog(catalog), base=base, head=head, token=token).go()


def main(what: str) -> int:
    switch_signals()
    workflow = Workflow({TOKEN: "", **os.environ})
    try:
        return {"check": check, "site": site, "refresh": refresh}[what](workflow)
    except (EvaldockError, OSError) as error:
        return workflow.failed(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
