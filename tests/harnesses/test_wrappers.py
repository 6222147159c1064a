"""Harnesses that nobody here wrote, run for real: their packages from PyPI, the data that comes with them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog import record_files
from catalog.records import Record
from docs.demo.evaluations import evaluate
from running import evaldock
from services.pypi import RealWheels

ROOT = Path(__file__).parents[2]
HARNESSES = ROOT / "catalog" / "harnesses"
EVALDOCK = Path(sys.executable).with_name("evaldock")
MINUTES = 60


@pytest.fixture(autouse=True)
def kept_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(ROOT / "build" / "uv"))
    monkeypatch.setenv("KEY", "any")


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "url"
    process = subprocess.Popen(
        [EVALDOCK, "standin", "--port", "0", "--url-file", file], stdout=subprocess.DEVNULL
    )
    try:
        while not file.exists():
            assert process.poll() is None
        yield file.read_text()
    finally:
        process.kill()
        process.wait()


def wheel_of(name: str, wheels: RealWheels) -> Path:
    (wheel,) = (path for path in wheels.harnesses if path.name.startswith(f"nvidia_{name}-"))
    return wheel


def prepare(name: str, target: Path, wheel: Path) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(HARNESSES / "prepare.py"), str(HARNESSES / name), str(target)]
    return subprocess.run([*script, "--wheel", str(wheel)], capture_output=True, text=True, check=False)


def add(root: Path, name: str, wheels: RealWheels) -> None:
    """A wrapper's entry and image, as its README says."""
    done = prepare(name, root / "harnesses" / name, wheel_of(name, wheels))
    assert done.returncode == 0, done.stderr
    packed = evaldock("pack", root / "harnesses" / name, "--to", f"oci:{root}/images/{name}:26.3")
    assert packed.code == 0, packed.err
    with (root / "mapping.toml").open("a") as file:
        file.write(
            f'[{name}]\ncontainer = "oci:images/{name}:26.3"\n'
            f'packages = ["./harnesses/{name}/requirements.txt"]\n'
        )


def sync(root: Path) -> None:
    ran = evaldock("sync", "--catalog", root)
    assert ran.code == 0, ran.err


def records(root: Path) -> list[Record]:
    published, problems = record_files.load_all(root)
    assert not problems
    return [one.record for one in published]


@pytest.mark.timeout(10 * MINUTES)
def test_the_demos_evaluations(
    real_wheels: RealWheels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """mmath and quickcheck as processes, their records in the catalog; a second time nothing is run."""
    root = tmp_path / "demo"
    root.mkdir()
    folder = HARNESSES / "quickcheck"
    (root / "mapping.toml").write_text(
        f'[quickcheck]\ncontainer = "oci:images/quickcheck:1.0.0"\npackages = ["{folder}"]\n'
    )
    evaldock("pack", folder, "--to", f"oci:{root}/images/quickcheck:1.0.0")
    add(root, "mmath", real_wheels)
    sync(root)

    evaluate(EVALDOCK, root)
    found = {(record.task_id, record.model): record for record in records(root)}
    assert {task for task, _ in found} == {"quickcheck.chat", "quickcheck.json_schema", "mmath.mmath_en"}
    assert len(found) == 6
    for record in found.values():
        assert record.backend == "process"
        assert not record.partial
    mmath = found["mmath.mmath_en", "stand-in-steady"]
    assert mmath.limit == 3
    assert {metric.name: metric.value for metric in mmath.metrics}["MMATH/accuracy/accuracy"] == 0.0
    assert mmath.versions["nvidia-mmath"] == "26.3"
    steady, shaky = (
        found["quickcheck.chat", f"stand-in-{name}"].metrics[0].value for name in ("steady", "shaky")
    )
    assert steady == 1.0
    assert 0.0 < shaky < steady

    capsys.readouterr()
    evaluate(EVALDOCK, root)
    assert "6 results are there already" in capsys.readouterr().out
    assert len(list((root / "runs").iterdir())) == 1
    assert len(records(root)) == 6


@pytest.mark.timeout(10 * MINUTES)
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="numpy 1.26 has no wheel for Python 3.13")
def test_bfcl_needs_no_network_but_the_endpoint(
    real_wheels: RealWheels, tmp_path: Path, standin: str
) -> None:
    root = tmp_path / "catalog"
    root.mkdir()
    add(root, "bfcl", real_wheels)
    sync(root)
    given = ("--model-id", "m", "--url", standin, "--api-key-name", "KEY", "--backend", "process")
    ran = evaldock(
        *("run", "bfclv3_ast", *given, "--limit", "2", "--catalog", root, "--output-dir", tmp_path / "runs"),
        "--json",
    )
    assert ran.code == 0, ran.err + ran.out
    published = evaldock("publish", ran.json["run"], "--to", root)
    assert published.code == 0, published.err
    (record,) = records(root)
    names = {metric.name for metric in record.metrics}
    assert {f"bfcl/{name}/{name}" for name in ("non_live_overall_acc", "multi_turn_overall_acc")} <= names


@pytest.mark.timeout(20 * MINUTES)
@pytest.mark.service("docker", "registry", "skopeo", "pypi")
def test_mmath_in_a_container(
    tmp_path: Path, standin: str, harness_image: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its definition comes out of the image that its Dockerfile makes, and its score out of the container."""
    assert callable(harness_image)
    image = harness_image(HARNESSES / "mmath")
    root = tmp_path / "catalog"
    root.mkdir()
    (root / "mapping.toml").write_text(f'[mmath]\ncontainer = "{image}"\n')
    sync(root)
    given = ("--model-id", "m", "--url", standin, "--api-key-name", "KEY", "--backend", "docker")
    ran = evaldock(
        *("run", "mmath_en", *given, "--limit", "3", "--catalog", root, "--output-dir", tmp_path / "runs"),
        *("-o", "execution.network=host", "--json"),
    )
    assert ran.code == 0, ran.err + ran.out
    published = evaldock("publish", ran.json["run"], "--to", root)
    assert published.code == 0, published.err
    (record,) = records(root)
    assert record.image == image
    assert {metric.name: metric.value for metric in record.metrics}["MMATH/accuracy/accuracy"] == 0.0


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "nvidia_mmath-26.3-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("core_evals/mmath/framework.yml", json.dumps({"framework": {"name": "mmath"}}))
    done = prepare("mmath", tmp_path / "prepared", wheel)
    assert done.returncode == 1
    assert f"{wheel} is not the wheel that is pinned" in done.stderr
    assert not (tmp_path / "prepared").exists()
