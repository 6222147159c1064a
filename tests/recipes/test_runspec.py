"""What a recipe says of itself, and every way to say it wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import InvalidInput, NotFound
from launcher import parse
from launcher.recipes.runspec import RunspecConfig, RunspecResources, RunspecRun

SAMPLES = Path(__file__).with_name("samples")


def written(folder: Path, *lines: str) -> Path:
    path = folder / "recipe.py"
    path.write_text("\n".join(["# /// script", *(f"# {line}".rstrip() for line in lines), "# ///", ""]))
    return path


def test_every_field() -> None:
    spec = parse(SAMPLES / "every_field.py")
    assert spec.name == "samples/every-field"
    assert spec.docs == "A recipe that says all there is to say."
    assert spec.image == f"registry.example/score@sha256:{'1' * 64}"
    assert spec.setup == "export PREPARED=yes\npip install -e .\n"
    assert spec.script == SAMPLES / "every_field.py"
    assert spec.config_dir == SAMPLES / "config"
    assert spec.run == RunspecRun(launch="torchrun", cmd="python {script} --config {config}", workdir="work")
    assert spec.config == RunspecConfig(dir="./config", default="small", format="omegaconf")
    assert spec.resources == RunspecResources(nodes=2, gpus_per_node="gpu")
    assert spec.env == {"HF_HOME": "/cache/hf", "HF_TOKEN": "host:HF_TOKEN", "THREADS": "4"}
    assert spec.dependencies == ("pyyaml>=6", "click")
    assert spec.requires_python == ">=3.11"
    assert spec.warnings == ()


def test_every_mistake() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(SAMPLES / "every_mistake.py")
    problems = set(caught.value.problems)
    assert problems == {
        "line 2: requires-python: 3.11: expected text; put it in quotes",
        "line 3: dependencies: '--index-url=https://packages.example': "
        "not a requirement (PEP 508), such as 'pyyaml>=6'",
        "line 3: dependencies: 7: not a requirement (PEP 508), such as 'pyyaml>=6'",
        "line 3: dependencies: './folder': not a requirement (PEP 508), such as 'pyyaml>=6'",
        "line 7: tool.runspec.schema: '9': this evaldock reads schema '1'",
        "line 8: tool.runspec.docs: 1: expected text; put it in quotes",
        "line 9: tool.runspec.name: 'a name': use letters, digits, '.', '_' and '-', with '/' between parts",
        "line 10: tool.runspec.image: '--privileged': "
        "expected for example 'registry.example/team/name@sha256:…'",
        "line 11: tool.runspec.setup: ['pip install -e .']: expected text; put it in quotes",
        "line 15: tool.runspec.run.launch: 'bogus': "
        "use direct, python, torchrun or ray, or give the whole call as run.cmd",
        "line 16: tool.runspec.run.cmd: 'python train.py --config {confg}': "
        "it has to name {script}, as in 'python {script} --config {config}'",
        "line 17: tool.runspec.run.workdir: 3: expected text; put it in quotes",
        "line 21: tool.runspec.config.dir: 1: expected text; put it in quotes",
        "line 22: tool.runspec.config.default: 2: expected text; put it in quotes",
        "line 23: tool.runspec.config.format: 'hydra': 'omegaconf' is the one that is read (YAML)",
        "line 26: tool.runspec.resources.nodes: 'x': expected a whole number from 1 on",
        "line 27: tool.runspec.resources.gpus_per_node: 'all': "
        "expected a whole number from 0 on, or 'gpu' for all of a node",
        "line 30: tool.runspec.env.HF HOME: 'HF HOME': "
        "not a variable's name: letters, digits and '_', no digit first",
        "line 31: tool.runspec.env.DEBUG: True: expected text; put it in quotes",
    }


def test_unknown_keys_are_warned_of_with_the_nearest(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "dependancies = []",
        "[tool.ruff]",
        "line-length = 100",
        "[tool.runspec]",
        "lunch = 'x'",
        "[tool.runspec.run]",
        "lanch = 'ray'",
        "cmd = 'run {script} {confg} ${HOME} {print}'",
    )
    assert parse(path).warnings == (
        f"{path}: line 2: dependancies: unknown key, ignored; did you mean 'dependencies'?",
        f"{path}: line 6: tool.runspec.lunch: unknown key, ignored"
        "; there are schema, docs, name, image, setup, run, config, resources, env",
        f"{path}: line 8: tool.runspec.run.lanch: unknown key, ignored; did you mean 'launch'?",
        f"{path}: line 9: tool.runspec.run.cmd: {{confg}} stays as it is; did you mean 'config'?",
    )


def test_defaults_are_those_of_the_specification(tmp_path: Path) -> None:
    spec = parse(written(tmp_path, "[tool.runspec]"))
    assert spec.run == RunspecRun(launch="torchrun", cmd=None, workdir=None)
    assert spec.config == RunspecConfig(dir="./config", default="default", format="omegaconf")
    assert spec.resources == RunspecResources(nodes=1, gpus_per_node=8)
    assert (spec.schema, spec.docs, spec.name, spec.image, spec.setup) == ("1", "", "", None, "")
    assert (dict(spec.env), spec.config_dir, spec.title) == ({}, tmp_path / "config", "recipe")
    assert spec.stated == frozenset()


def test_it_is_frozen() -> None:
    spec = parse(SAMPLES / "every_field.py")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        spec.env["A"] = "b"  # type: ignore[index]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["[tool.runspec"], "its inline metadata is not valid TOML:\n  - line 2: Expected ']' at the end"),
        (["[tool.runspecs]"], "line 1: the block holds no table [tool.runspec]; did you mean 'runspecs'?"),
        (["dependencies = []"], "not a recipe:\n  - line 1: the block holds no table [tool.runspec]"),
        (["[tool]", "runspec = 1"], "line 3: tool.runspec: 1: expected a table [tool.runspec]"),
        (["[tool.runspec]", "run = 1"], "line 3: tool.runspec.run: 1: expected a table [tool.runspec.run]"),
        (["[tool.runspec]", "env = []"], "line 3: tool.runspec.env: []: expected a table [tool.runspec.env]"),
    ],
)
def test_what_is_no_table(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(written(tmp_path, *lines))
    assert message in str(caught.value)


def test_a_script_without_a_block(tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text("#/// script\n# [tool.runspec]\n# ///\n")
    with pytest.raises(
        InvalidInput, match="line 1: '#/// script' opens no block; write it as '# /// script'"
    ):
        parse(path)
    path.write_text("x = 1\n")
    with pytest.raises(InvalidInput, match=r"no inline metadata; begin it with a block '# /// script'"):
        parse(path)


def test_what_is_no_script(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such recipe"):
        parse(tmp_path / "missing.py")
    with pytest.raises(NotFound, match="a folder, not a recipe"):
        parse(tmp_path)
    path = tmp_path / "recipe.py"
    path.write_bytes(b"# /// script\n# a = '\xff'\n# ///\n")
    with pytest.raises(InvalidInput, match="not a Python script"):
        parse(path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(InvalidInput, match="larger than 1 MiB"):
        parse(path)


def test_other_line_endings_and_encodings(tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    text = "# -*- coding: latin-1 -*-\r\n# /// script\r\n# [tool.runspec]\r\n# docs = 'Größe'\r\n# ///\r\n"
    path.write_bytes(text.encode("latin-1"))
    assert parse(path).docs == "Größe"


def test_importing_the_package_reads_nothing() -> None:
    loaded = "[n for n in sys.modules if n.startswith(('launcher.', 'tomli', 'yaml'))]"
    code = f"import sys, launcher; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
