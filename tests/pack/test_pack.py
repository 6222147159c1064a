"""`evaldock pack`: a harness folder as an image layout."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.errors import InvalidInput, NotFound, Refused, UsageError
from catalog.references import ImageRef
from folders import contents
from generator import sidecar
from generator.commands.pack import pack as pack_command
from generator.images.open import open_image
from generator.pack import pack
from generator.pack_files import PATTERN
from services.engine import Engine
from services.skopeo import Skopeo

FRAMEWORK = """\
framework:
  name: sums
  pkg_name: sums_pkg
  description: Adds numbers.
defaults:
  command: sums --url {{ target.api_endpoint.url }} --output {{ config.output_dir }}
  config:
    params:
      limit_samples: 10
  target:
    api_endpoint: {}
evaluations:
  - name: addition
    description: Sums of two numbers.
    defaults:
      config:
        type: addition
        supported_endpoint_types: [chat]
"""


@pytest.fixture
def harness(tmp_path: Path) -> Path:
    folder = tmp_path / "harness"
    (folder / "src").mkdir(parents=True)
    (folder / "framework.yml").write_text(FRAMEWORK)
    (folder / "src" / "sums.py").write_text("print(1 + 1)\n")
    (folder / "run").write_text("#!/bin/sh\nexec python3 src/sums.py\n")
    (folder / "run").chmod(0o755)
    return folder


def packed_to(root: Path, rest: str = "") -> ImageRef:
    return ImageRef.parse(f"oci:{root}{rest}")


def members(root: Path) -> Iterator[list[str]]:
    source = open_image(packed_to(root))
    for layer in source.resolve(None).layers:
        with tarfile.open(fileobj=io.BytesIO(source.blob(layer))) as archive:
            yield archive.getnames()


def test_the_image_stays_the_same(harness: Path, tmp_path: Path) -> None:
    """A digest that everybody gets. Whoever changes the format on purpose replaces it here, and packs the
    images of this repository anew."""
    made = pack(harness, packed_to(tmp_path / "one"))
    assert str(made.digest) == "sha256:494538b0e9c15020eb0eb6918c9d34ae5bb4233db1b23dd8260dd0a6c3f74688"
    both = pack(harness, packed_to(tmp_path / "two"), platforms=["arm64", "linux/amd64", "linux/arm64/v8"])
    assert str(both.digest) == "sha256:974d73261b6b0305a0f942e2b27641b565fa0fa9c79ae45eb92d2581bbe7f03a"
    assert both.manifests["linux/amd64"] == made.digest


def test_where_the_files_go(harness: Path, tmp_path: Path) -> None:
    pack(harness, packed_to(tmp_path / "layout"))
    files, metadata = members(tmp_path / "layout")
    assert files == [
        "opt",
        "opt/harness",
        "opt/harness/sums_pkg",
        "opt/harness/sums_pkg/framework.yml",
        "opt/harness/sums_pkg/run",
        "opt/harness/sums_pkg/src",
        "opt/harness/sums_pkg/src/sums.py",
    ]
    assert metadata == ["opt", "opt/metadata", "opt/metadata/sums_pkg", "opt/metadata/sums_pkg/framework.yml"]


def test_neither_place_nor_time_nor_rubbish_show(
    harness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(harness, packed_to(tmp_path / "one"))
    other = tmp_path / "quite" / "another name"
    shutil.copytree(harness, other)
    for path in sorted(other.rglob("*"), reverse=True):
        os.utime(path, (time.time() - 1e6, time.time() - 1e6))
        path.chmod(0o700 if path.is_dir() or path.name == "run" else 0o600)
    (other / "src" / "__pycache__").mkdir()
    (other / "src" / "__pycache__" / "sums.pyc").write_bytes(b"\0")
    (other / ".git").mkdir()
    (other / ".git" / "config").write_text("private\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    pack(other, packed_to(tmp_path / "two"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_python_process_packs_the_same(harness: Path, tmp_path: Path) -> None:
    pack(harness, packed_to(tmp_path / "one", ":1"))
    script = "import sys; from catalog.cli import main; sys.argv[0] = 'evaldock'; main()"
    subprocess.run(
        [sys.executable, "-c", script, "pack", harness, "--to", f"oci:{tmp_path}/two:1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7", "LC_ALL": "C"},
        check=True,
        capture_output=True,
    )
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_gitignore_is_honoured(harness: Path, tmp_path: Path) -> None:
    (harness / ".gitignore").write_text("/data/\n*.log\n")
    (harness / "data").mkdir()
    (harness / "data" / "large.bin").write_bytes(b"x")
    (harness / "src" / "a.log").write_bytes(b"x")
    pack(harness, packed_to(tmp_path / "layout"))
    files, _ = members(tmp_path / "layout")
    assert any(name.endswith(".py") for name in files)
    assert not [name for name in files if "data" in name or name.endswith(".log")]


def test_several_frameworks(harness: Path, tmp_path: Path) -> None:
    (harness / "framework.yml").unlink()
    for name in ("b", "a"):
        (harness / "metadata" / name).mkdir(parents=True)
        text = FRAMEWORK.replace("sums_pkg", f"pkg_{name}").replace("name: sums\n", f"name: sums-{name}\n")
        (harness / "metadata" / name / "framework.yml").write_text(text)
    made = pack(harness, packed_to(tmp_path / "layout"))
    assert [one.path for one in made.frameworks] == [
        "/opt/metadata/a/framework.yml",
        "/opt/metadata/b/framework.yml",
    ]
    files, _ = members(tmp_path / "layout")
    assert "opt/harness/pkg_a/src/sums.py" in files


def test_an_unpacked_wheel(harness: Path, tmp_path: Path) -> None:
    (harness / "core_evals" / "sums").mkdir(parents=True)
    (harness / "framework.yml").rename(harness / "core_evals" / "sums" / "framework.yml")
    made = pack(harness, packed_to(tmp_path / "layout"))
    assert [one.path for one in made.frameworks] == ["/opt/metadata/sums/framework.yml"]


def test_the_sidecar_says_what_is_in_the_image(harness: Path, tmp_path: Path) -> None:
    made = pack(harness, packed_to(tmp_path / "layout"), platforms=["linux/amd64", "linux/arm64"])
    assert made.sidecar
    source = open_image(made.image)
    for platform in ("linux/amd64", "linux/arm64"):
        image = source.resolve(platform)
        found = sidecar.read_sidecar(source, image, PATTERN)
        assert found is not None
        (file,) = found.files
        assert file.path == "/opt/metadata/sums_pkg/framework.yml"
        assert file.content == FRAMEWORK.encode()
        assert file.layer == image.layers[-1].digest


def test_a_large_framework_makes_no_sidecar(harness: Path, tmp_path: Path) -> None:
    (harness / "framework.yml").write_text(FRAMEWORK + "# " + "x" * 200_000 + "\n")
    made = pack(harness, packed_to(tmp_path / "layout"))
    assert not made.sidecar
    assert sidecar.ANNOTATION not in open_image(made.image).resolve(None).annotations


def test_tags_stay_and_blobs_of_what_was_replaced_go(harness: Path, tmp_path: Path) -> None:
    root = tmp_path / "layout"
    first = pack(harness, packed_to(root, ":1"))
    before = contents(root)
    (harness / "src" / "sums.py").write_text("print(2 + 2)\n")
    second = pack(harness, packed_to(root, ":2"), platforms=["linux/amd64", "linux/arm64"])
    assert open_image(packed_to(root, ":1")).head() == first.digest
    assert open_image(packed_to(root, ":2")).head() == second.digest
    assert before.items() - {("index.json", before["index.json"])} <= contents(root).items()
    both = contents(root)
    # The order of packing doesn't show, nor does what was there before.
    other = tmp_path / "other"
    pack(harness, packed_to(other, ":2"), platforms=["linux/amd64", "linux/arm64"])
    (harness / "src" / "sums.py").write_text("print(3 + 3)\n")
    pack(harness, packed_to(other, ":1"))
    assert contents(other) != both
    (harness / "src" / "sums.py").write_text("print(1 + 1)\n")
    pack(harness, packed_to(other, ":1"))
    assert contents(other) == both


def test_packing_again_changes_no_byte(harness: Path, tmp_path: Path) -> None:
    root = tmp_path / "layout"
    pack(harness, packed_to(root))
    before = contents(root)
    pack(harness, packed_to(root))
    assert contents(root) == before
    assert json.loads(before["index.json"])["manifests"][0]["annotations"] == {
        "org.opencontainers.image.ref.name": "latest"
    }


def test_an_unreadable_neighbour_keeps_its_blobs(harness: Path, tmp_path: Path) -> None:
    root = tmp_path / "layout"
    other = pack(harness, packed_to(root, ":other"))
    (root / "blobs" / "sha256" / other.digest.hex).write_bytes(b"damaged")
    (harness / "src" / "sums.py").write_text("print(2 + 2)\n")
    first = pack(harness, packed_to(root, ":1"))
    (harness / "src" / "sums.py").write_text("print(3 + 3)\n")
    pack(harness, packed_to(root, ":1"))
    assert (root / "blobs" / "sha256" / first.digest.hex).exists()


def test_what_an_interrupted_run_leaves_is_cleared_away(harness: Path, tmp_path: Path) -> None:
    root = tmp_path / "layout"
    pack(harness, packed_to(root))
    before = contents(root)
    (root / ".evaldock-abandoned").write_bytes(b"half a blob")
    pack(harness, packed_to(root))
    assert contents(root) == before


def test_a_failure_leaves_the_old_image(harness: Path, tmp_path: Path) -> None:
    root = tmp_path / "layout"
    pack(harness, packed_to(root))
    before = contents(root)
    (harness / "zz").symlink_to("/etc/passwd")
    with pytest.raises(Refused):
        pack(harness, packed_to(root))
    (harness / "zz").unlink()
    # Too large for a tar header, which shows only when the layer is being written.
    with (harness / "zz").open("wb") as file:
        file.truncate(9 << 30)
    with pytest.raises(Refused):
        pack(harness, packed_to(root))
    assert contents(root) == before


def test_a_broken_framework_is_not_packed(harness: Path, tmp_path: Path) -> None:
    (harness / "framework.yml").write_text("framework: {name: sums}\nevaluations: 5\n")
    with pytest.raises(InvalidInput) as invalid:
        pack(harness, packed_to(tmp_path / "layout"))
    assert all(problem.startswith("framework.yml: ") for problem in invalid.value.problems)
    assert len(invalid.value.problems) > 1
    assert not (tmp_path / "layout").exists()


def test_a_package_name_that_is_no_folder(harness: Path, tmp_path: Path) -> None:
    (harness / "framework.yml").write_text(FRAMEWORK.replace("sums_pkg", "../../etc"))
    with pytest.raises(InvalidInput, match="pkg_name"):
        pack(harness, packed_to(tmp_path / "layout"))


def test_one_harness_twice(harness: Path, tmp_path: Path) -> None:
    (harness / "metadata" / "sums_pkg").mkdir(parents=True)
    (harness / "metadata" / "sums_pkg" / "framework.yml").write_text(FRAMEWORK)
    with pytest.raises(InvalidInput) as invalid:
        pack(harness, packed_to(tmp_path / "layout"))
    assert invalid.value.problems == (
        "/opt/metadata/sums_pkg/framework.yml would be written 2 times",
        "harness 'sums' is defined 2 times",
    )


def test_links_and_odd_files(harness: Path, tmp_path: Path) -> None:
    (harness / "alias.py").symlink_to("src/sums.py")
    (harness / "src" / "up").symlink_to("../run")
    pack(harness, packed_to(tmp_path / "layout"))
    files, _ = members(tmp_path / "layout")
    assert {"opt/harness/sums_pkg/alias.py", "opt/harness/sums_pkg/src/up"} <= set(files)
    for target in ("../outside", "/etc/passwd", "src/../../outside"):
        (harness / "escape").symlink_to(target)
        with pytest.raises(Refused, match="link escape leads out of the folder"):
            pack(harness, packed_to(tmp_path / "layout"))
        (harness / "escape").unlink()
    os.mkfifo(harness / "fifo")
    with pytest.raises(Refused, match="fifo is neither a file nor a folder nor a link"):
        pack(harness, packed_to(tmp_path / "layout"))


def test_what_can_not_be_packed(harness: Path, tmp_path: Path) -> None:
    target = packed_to(tmp_path / "layout")
    shutil.copytree(harness, tmp_path / "layout")
    with pytest.raises(Refused, match="something else than an image layout"):
        pack(harness, target)
    shutil.rmtree(tmp_path / "layout")
    (tmp_path / "layout").write_text("a file")
    with pytest.raises(Refused, match="not a folder"):
        pack(harness, target)
    (harness / ".gitignore").write_bytes(b"\xff")
    with pytest.raises(Refused, match=r"\.gitignore is not text"):
        pack(harness, target)
    (harness / "framework.yml").unlink()
    with pytest.raises(NotFound) as missing:
        pack(harness, target)
    assert missing.value.hint == (
        "it may stand at framework.yml, metadata/*/framework.yml, core_evals/*/framework.yml of the folder"
    )
    shutil.rmtree(harness)
    with pytest.raises(NotFound, match="no such folder"):
        pack(harness, target)


@pytest.mark.parametrize(
    "to", ["registry.example/name:1", "oci-archive:file.tar", f"oci:layout@sha256:{'0' * 64}"]
)
def test_where_to_pack(harness: Path, to: str) -> None:
    with pytest.raises(UsageError, match="can't pack to"):
        pack(harness, ImageRef.parse(to))


def test_an_unknown_platform(harness: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a platform"):
        pack(harness, packed_to(tmp_path / "layout"), platforms=["linux//"])


def test_the_command(harness: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(pack_command, [str(harness), "--to", f"oci:{tmp_path}/layout:1.0"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"oci:{tmp_path}/layout:1.0@sha256:")
    assert lines[1] == "  /opt/metadata/sums_pkg/framework.yml: sums, 1 tasks"
    assert "linux/amd64" in lines[2]
    as_json = CliRunner().invoke(
        pack_command,
        [str(harness), "--to", f"oci:{tmp_path}/layout:1.0", "--platform", "linux/arm64", "--json"],
    )
    found = json.loads(as_json.stdout)
    assert found["manifests"] == {"linux/arm64": found["digest"]}
    assert found["files"] == [{"path": "/opt/metadata/sums_pkg/framework.yml", "harness": "sums", "tasks": 1}]
    assert found["sidecar"] is True


def test_warnings_are_shown_and_strict_refuses_them(harness: Path, tmp_path: Path) -> None:
    (harness / "framework.yml").write_text(FRAMEWORK + "novelty: 1\n")
    arguments = [str(harness), "--to", f"oci:{tmp_path}/layout"]
    done = CliRunner().invoke(pack_command, arguments)
    assert done.exit_code == 0
    assert "novelty" in done.stderr
    with pytest.raises(InvalidInput, match="novelty"):
        CliRunner().invoke(pack_command, [*arguments, "--strict"], catch_exceptions=False)


def test_skopeo_copies_it_unchanged(harness: Path, tmp_path: Path, registry: str, skopeo: Skopeo) -> None:
    made = pack(harness, packed_to(tmp_path / "layout", ":1"), platforms=["linux/amd64", "linux/arm64"])
    target = f"{registry}/evaldock-test/packed:1"
    layout = f"oci:{tmp_path}/layout:1"
    skopeo("copy", "--all", "--dest-tls-verify=false", layout, f"docker://{target}")
    shown = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{target}"))
    assert shown["Digest"] == str(made.digest)
    skopeo("copy", layout, f"oci:{tmp_path}/copy:1")
    assert open_image(packed_to(tmp_path / "copy")).head() == made.manifests["linux/amd64"]


def test_an_engine_loads_it(
    harness: Path, tmp_path: Path, docker_engine: Engine, skopeo: Skopeo, busybox_image: str
) -> None:
    made = pack(harness, packed_to(tmp_path / "layout", ":1"))
    name = "evaldock-test/packed:1"
    host = f"--dest-daemon-host={docker_engine.host}"
    skopeo("copy", host, f"oci:{tmp_path}/layout:1", f"docker-daemon:{name}")
    inspected = json.loads(docker_engine.run("image", "inspect", name))[0]
    config = json.loads(open_image(made.image).blob(open_image(made.image).resolve(None).config))
    assert inspected["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
    recipe = f"FROM {busybox_image}\nCOPY --from={name} / /\n"
    docker_engine.run(
        "build", "--network=none", "-t", "evaldock-test/on-packed:1", "-", stdin=recipe.encode()
    )
    path = "/opt/metadata/sums_pkg/framework.yml"
    assert (
        docker_engine.run("run", "--rm", "--network=none", "evaldock-test/on-packed:1", "cat", path)
        == FRAMEWORK
    )
