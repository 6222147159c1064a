"""Runs composite actions and simple jobs step by step, as GitHub's runner does.

Expressions are evaluated by GitHub's own package. An action of somebody else (`uses: actions/checkout@…`) is
a function in `foreign`. What a step's script prints is read for workflow commands, and what it writes to its
files for outputs, variables and paths, by the runner's rules.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from action.workflow_log import Ran, assignments, read_commands
from services.github_packages import GitHubPackages, Status

_EXPRESSION = re.compile(r"\$\{\{((?:[^'}]|'[^']*'|\}(?!\}))*)\}\}")
_STATUS_FUNCTION = re.compile(r"\b(success|failure|cancelled|always)\s*\(")
_SHELLS = {"bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"], "sh": ["sh", "-e"]}
# Between what a cancelled workflow sends to its step, in seconds; GitHub's are 7.5 and 2.5.
_PATIENCE = (7.5, 2.5)


Foreign = Callable[["Runner", Mapping[str, str], Mapping[str, str]], Mapping[str, str]]
"""An action of somebody else: the runner, its inputs and environment; its outputs. Raises to fail."""


@dataclass(slots=True)
class Runner:
    """`folder` holds the runner's own files, `workspace` is where jobs start, `own` is the repository of the
    workflow, which `$/…` means. `github` and `secrets` are contexts. `repositories` maps `owner/name` to
    folders where its actions lie. `cancel` is asked while a step runs."""

    packages: GitHubPackages
    folder: Path
    workspace: Path
    own: Path
    github: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, Foreign] = field(default_factory=dict)
    repositories: dict[str, Path] = field(default_factory=dict)
    cancel: Callable[[], bool] | None = None
    cancelled: bool = False
    count: int = 0

    def action(
        self, folder: Path, inputs: Mapping[str, str], environ: Mapping[str, str] | None = None
    ) -> Ran:
        """The composite action in `folder`, as a step with these inputs."""
        given = yaml.safe_load((folder / "action.yml").read_text())
        unknown = set(inputs) - set(given.get("inputs") or {})
        if unknown:
            raise AssertionError(f"{folder.name} has no inputs {sorted(unknown)}")
        outer = self._contexts({}, environ or {})
        values = {
            name: inputs.get(name, self._text(str((each or {}).get("default", "")), outer))
            for name, each in (given.get("inputs") or {}).items()
        }
        contexts = self._contexts(values, environ or {})
        contexts["github"] = {**contexts["github"], "action_path": str(folder)}
        ran = self._steps(given["runs"]["steps"], contexts, {"GITHUB_ACTION_PATH": str(folder)})
        contexts["steps"] = ran.steps
        for name, each in (given.get("outputs") or {}).items():
            ran.outputs[name] = self._text(each["value"], contexts)
        return ran

    def job(
        self,
        job: Mapping[str, Any],
        *,
        inputs: Mapping[str, Any] | None = None,
        **contexts: Mapping[str, Any],
    ) -> Ran:
        """One job of a workflow: its steps and outputs. `contexts` are further ones, such as `needs`."""
        known = self._contexts(dict(inputs or {}), {}) | contexts
        if "if" in job and not self._holds(job["if"], known, Status(cancelled=self.cancelled)):
            return Ran(outcome="skipped")
        known["env"] = {name: self._text(value, known) for name, value in (job.get("env") or {}).items()}
        ran = self._steps(job["steps"], known, {})
        known["steps"] = ran.steps
        ran.outputs = {name: self._text(text, known) for name, text in (job.get("outputs") or {}).items()}
        return ran

    def _contexts(self, inputs: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
        temp = self.folder / "temp"
        return {
            "github": {"workspace": str(self.workspace), "token": "", **self.github},
            "runner": {"os": "Linux", "arch": "X64", "temp": str(temp)},
            "inputs": inputs,
            "env": dict(environ),
            "steps": {},
            "secrets": self.secrets,
            "needs": {},
            "matrix": {},
            "vars": {},
        }

    def _steps(self, steps: list[dict[str, Any]], contexts: dict[str, Any], paths: Mapping[str, str]) -> Ran:
        ran = Ran()
        for at, step in enumerate(steps):
            contexts["steps"] = ran.steps
            status = Status(failed=ran.outcome == "failure", cancelled=self.cancelled)
            if not self._holds(step.get("if", "success()"), contexts, status):
                inner = Ran(outcome="skipped")
            else:
                inner = self._step(step, contexts, paths)
                if inner.outcome == "failure" and not step.get("continue-on-error"):
                    ran.outcome = "failure"
            ran.include(inner)
            contexts["env"] |= inner.environ
            name = step.get("id", f"__{at}")
            ran.steps[name] = {
                "outputs": inner.outputs,
                "outcome": inner.outcome,
                "conclusion": inner.outcome,
            }
        if self.cancelled:
            ran.outcome = "cancelled"
        return ran

    def _step(self, step: Mapping[str, Any], contexts: dict[str, Any], paths: Mapping[str, str]) -> Ran:
        environ = dict(contexts["env"])
        environ |= {name: self._text(value, contexts) for name, value in (step.get("env") or {}).items()}
        inner = {**contexts, "env": environ}
        if "run" in step:
            return self._script(step, inner, paths)
        given = {name: self._text(value, inner) for name, value in (step.get("with") or {}).items()}
        used = step["uses"]
        if used.startswith("$/"):
            return self.action(self.own / used.removeprefix("$/"), given, environ)
        if used.startswith("./"):
            return self.action(self.workspace / used, given, environ)
        name, _, _ = used.partition("@")
        owner, repository, *below = name.split("/")
        if f"{owner}/{repository}" in self.repositories:
            return self.action(self.repositories[f"{owner}/{repository}"].joinpath(*below), given, environ)
        try:
            return Ran(outputs=dict(self.foreign[name](self, given, environ)))
        except (OSError, subprocess.CalledProcessError) as error:
            return Ran(outcome="failure", log=f"{name}: {error}\n")

    def _script(self, step: Mapping[str, Any], contexts: dict[str, Any], paths: Mapping[str, str]) -> Ran:
        if "${{" in step["run"]:
            raise AssertionError(f"an expression in a script: {step['run']}")
        self.count += 1
        own = self.folder / f"step-{self.count}"
        own.mkdir(parents=True)
        script = own / "script.sh"
        script.write_text(step["run"])
        names = ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY")
        files = {f"GITHUB_{name}": own / name.lower() for name in names}
        for file in files.values():
            file.touch()
        where = self.workspace / self._text(step.get("working-directory", ""), contexts)
        environ = {
            **self._environ(),
            **contexts["env"],
            **paths,
            **{name: str(f) for name, f in files.items()},
        }
        code, log = self._execute([*_SHELLS[step.get("shell", "bash")], str(script)], where, environ, own)
        ran = Ran(outcome="success" if code == 0 else "failure", log=log)
        ran.summary = files["GITHUB_STEP_SUMMARY"].read_text()
        ran.outputs = assignments(files["GITHUB_OUTPUT"].read_text())
        ran.environ = assignments(files["GITHUB_ENV"].read_text())
        for folder in files["GITHUB_PATH"].read_text().splitlines():
            self.environ["PATH"] = f"{folder}{os.pathsep}{self._environ()['PATH']}"
        read_commands(log, ran)
        return ran

    def _environ(self) -> dict[str, str]:
        temp = self.folder / "temp"
        temp.mkdir(parents=True, exist_ok=True)
        known = {"workspace": self.workspace, **self.github}
        known.pop("token", None)
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "RUNNER_TEMP": str(temp),
            **{f"GITHUB_{name.upper()}": str(value) for name, value in known.items()},
            **self.environ,
        }

    def _execute(
        self, command: list[str], where: Path, environ: Mapping[str, str], own: Path
    ) -> tuple[int, str]:
        log = own / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=where, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            watcher = threading.Thread(target=self._watch, args=(process,))
            watcher.start()
            code = process.wait()
            watcher.join()
        return code, log.read_text(errors="replace")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Cancels the step as the runner does, to its first process alone, once `cancel` says so."""
        while process.poll() is None:
            if self.cancel is not None and not self.cancelled and self.cancel():
                self.cancelled = True
                for sent, patience in zip((signal.SIGINT, signal.SIGTERM), _PATIENCE, strict=True):
                    process.send_signal(sent)
                    try:
                        process.wait(patience)
                        return
                    except subprocess.TimeoutExpired:
                        continue
                process.kill()
            time.sleep(0.02)

    def _holds(self, condition: Any, contexts: Mapping[str, Any], status: Status) -> bool:
        text = str(condition).strip()
        text = text.removeprefix("${{").removesuffix("}}").strip() if text.startswith("${{") else text
        text = text.lower() if isinstance(condition, bool) else text
        # "A default status check of success() is applied unless you include one of these functions."
        whole = text if _STATUS_FUNCTION.search(text) else f"success() && ({text})"
        return self.packages.evaluate(whole, contexts, status).truthy

    def _text(self, template: Any, contexts: Mapping[str, Any]) -> str:
        text = str(template).lower() if isinstance(template, bool) else str(template)
        return _EXPRESSION.sub(
            lambda match: self.packages.evaluate(match[1].strip(), contexts, Status()).text, text
        )
