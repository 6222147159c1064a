"""The documentation: it builds without a warning, and what it shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import tomli
import yaml

from catalog import mapping
from catalog.cli import root
from docs import action_reference, cli_reference
from foundation import doc_examples
from services.pypi import RealWheels

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if not {"_build", "task_catalog"} & set(page.parts)]


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    # From a copy: the extension writes its documents beside the sources.
    source = tmp_path / "project"
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "docs", "catalog", "CHANGELOG.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in tracked.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "--keep-going", "docs", "site"],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (source / "site" / "tutorial" / "first-catalog.html").is_file()


def test_the_command_reference_is_that_of_the_commands() -> None:
    assert cli_reference.PAGE.read_text() == cli_reference.page(), "run `make reference`"


def test_the_action_reference_is_that_of_the_actions() -> None:
    assert action_reference.PAGE.read_text() == action_reference.page(), "run `make reference`"


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    assert doc_examples.run(DOCS / "tutorial" / "first-catalog.md", tmp_path, environment) > 1
    for made, shown in (("coins.yaml", "coins-ir.yaml"), ("index.yaml", "coins-index.yaml")):
        assert (tmp_path / "my-catalog" / "ir" / made).read_text() == (DOCS / "reference" / shown).read_text()


def test_the_mapping_of_public_images_is_complete(real_wheels: RealWheels) -> None:
    ours = mapping.read(DOCS / "how-to" / "nvidia-images.toml")
    with zipfile.ZipFile(real_wheels.launcher) as wheel:
        theirs = tomli.loads(wheel.read("nemo_evaluator_launcher/resources/mapping.toml").decode())
    assert {entry.key: entry.container for entry in ours.entries} == {
        key: table["container"] for key, table in theirs.items()
    }
    assert ours.warnings == ()


def test_the_workflow_in_the_guide_is_a_workflow() -> None:
    path = DOCS / "how-to" / "check-pull-requests.yml"
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert yaml.safe_load(path.read_text())["permissions"] == {}


def test_readme_and_contributing_link_to_what_exists() -> None:
    broken = []
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        ours = [target for target in targets if "://" not in target]
        assert ours, page.name
        broken += [f"{page.name}: {target}" for target in ours if not (page.parent / target).exists()]
    assert broken == []


def named_by(line: str) -> tuple[click.Command, list[str]]:
    """The command that an example calls, and its arguments."""
    words = re.split(r"\s(?:&&|\||#|>>|>)(?:\s|$)", line)[0].split()[1:]
    command: click.Command = root()
    context = click.Context(command)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        if found is None:
            break
        command, words = found, words[1:]
    return command, words


def test_examples_use_commands_and_options_that_exist() -> None:
    unknown, seen = [], 0
    for page in [*PAGES, ROOT / "README.md"]:
        for line in re.findall(r"^ *\$ (evaldock .*)$", page.read_text(), re.M):
            seen += 1
            command, words = named_by(line)
            known = {"--help", "--version"}.union(*(p.opts + p.secondary_opts for p in command.params))
            options = {word.partition("=")[0] for word in words if word.startswith("-")}
            if options - known or (isinstance(command, click.Group) and not options):
                unknown.append(f"{page.name}: {line}")
    assert seen
    assert unknown == []
