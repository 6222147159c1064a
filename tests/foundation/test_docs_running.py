"""The documentation of runs: what it shows is what happens, and it leaves nothing out."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jsonschema
import pytest

from catalog import record_files
from docs import run_configuration_reference
from foundation import doc_examples
from git_commands import git
from services.processes import free_port, free_ports

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@contextmanager
def standin(arguments: str, port: str) -> Iterator[None]:
    command = [sys.executable, "-m", "catalog.cli", "standin", *arguments.split()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as server:
        try:
            deadline = time.monotonic() + 60
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                        break
                assert server.poll() is None, "the stand-in ended"
                assert time.monotonic() < deadline, "the stand-in does not listen"
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


@pytest.fixture
def environment() -> Mapping[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "120"}


@pytest.fixture
def repository(tmp_path: Path) -> None:
    """As a clone of this one would lie beside the reader's own folder."""
    harness = Path("catalog/harnesses/quickcheck")
    shutil.copytree(ROOT / harness, tmp_path / "evaldock" / harness)


def run_page(page: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """With the stand-ins that the page starts in other terminals, on ports that are free here."""
    text = page.read_text()
    commands = re.findall(r"^evaldock standin (--port (\d+).*)$", text, re.M)
    shown = [port for _, port in commands]
    ports = dict(zip(shown, map(str, free_ports(len(shown))), strict=True))

    def moved(text: str) -> str:
        return re.sub("|".join(shown), lambda found: ports[found[0]], text) if shown else text

    copy = folder / page.name
    copy.write_text(moved(text))
    with ExitStack() as stack:
        for arguments, port in commands:
            stack.enter_context(standin(moved(arguments), ports[port]))
        assert doc_examples.run(copy, folder, environment) > 0


def test_the_tutorial_does_what_it_says(
    tmp_path: Path, environment: Mapping[str, str], repository: None, real_wheels: object
) -> None:
    """`real_wheels` stands for PyPI, from where the harness's requirements come."""
    run_page(DOCS / "tutorial" / "first-run.md", tmp_path, environment)
    pages = "".join(page.read_text() for page in (tmp_path / "my-results" / "site").rglob("*.html"))
    assert "steady" in pages
    assert "shaky" in pages


def test_the_reference_of_configurations_is_that_of_the_model() -> None:
    reference = run_configuration_reference
    assert reference.PAGE.read_text() == reference.page(), "run `make reference`"


def test_every_setting_is_explained_and_none_that_is_gone() -> None:
    reference = run_configuration_reference
    assert sorted(reference.settings()) == sorted(reference.MEANINGS)


def test_the_configuration_of_the_other_launcher_works_as_it_stands(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    run_page(DOCS / "how-to" / "nemo-configurations.md", tmp_path, {**environment, "API_KEY": "secret"})


def test_the_record_in_the_reference_is_one() -> None:
    file = DOCS / "reference" / "record.json"
    schema = json.loads((ROOT / "catalog" / "schema" / "record.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(file.read_bytes()))
    assert record_files.read(file).task_id == "quickcheck.chat"


PREPARE = """
git init --quiet --bare -b main upstream.git
git clone --quiet upstream.git catalog
mkdir catalog/harnesses ci
cp -r evaldock/catalog/harnesses/quickcheck catalog/harnesses/
evaldock pack catalog/harnesses/quickcheck --to oci:catalog/images/quickcheck:1.0
printf '[quickcheck]\\ncontainer = "oci:images/quickcheck:1.0"\\n' >catalog/mapping.toml
printf 'packages = ["./harnesses/quickcheck"]\\n' >>catalog/mapping.toml
evaldock sync --catalog catalog
git -C catalog add .
git -C catalog commit --quiet -m "A catalog"
git -C catalog push --quiet -u origin HEAD
evaldock run quickcheck.chat --model-id org/model-in-use --url http://127.0.0.1:PORT/v1 --backend process
evaldock publish 0 --to catalog --push
cat >ci/nightly.yaml <<'END'
execution: {type: process}
target: {api_endpoint: {model_id: org/next, url: "http://127.0.0.1:PORT/v1"}}
evaluation: {tasks: [quickcheck.chat]}
END
"""


def test_the_script_for_ci_runs_judges_and_publishes(
    tmp_path: Path, environment: Mapping[str, str], repository: None, real_wheels: object
) -> None:
    page = (DOCS / "how-to" / "run-in-ci.md").read_text()
    (script,) = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    port = str(free_port())
    with standin(f"--port {port}", port):
        for text in (PREPARE.replace("PORT", port), script):
            done = subprocess.run(
                ["bash", "-euc", text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    assert "1 against 1: could be chance" in done.stdout
    pushed = git(tmp_path / "upstream.git", "log", "--format=%s", "-1", "main")
    assert pushed == "Publish quickcheck.chat for org/next"
