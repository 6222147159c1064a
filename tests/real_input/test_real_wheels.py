"""Real harnesses, from their wheels through images and a real registry to a catalog, compared task by task
with what the field's first tool says about them."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from catalog import store
from catalog.models import Task
from git_commands import git
from image_parts import OCI_MANIFEST, Descriptor, Layer, Layout, encoded, member, sha256, tar
from running import evaldock
from services.pypi import RealWheels
from services.skopeo import Skopeo

TASKS = {"lm-evaluation-harness": 133, "simple_evals": 88, "mmath": 10, "bfcl": 6, "mtbench": 2}
ENTRIES = ("lm_eval", "simple_evals", "mmath", "mtbench_evaluator", "bfcl")


def zstd(diff: bytes) -> Layer:
    compressed = zstandard.ZstdCompressor(level=3).compress(diff)
    return Layer(diff, compressed, "application/vnd.oci.image.layer.v1.tar+zstd")


def gzip_members(diff: bytes) -> Layer:
    """As parallel compressors write it: several members, one after the other."""
    step = max(len(diff) // 3, 1)
    parts = [gzip.compress(diff[at : at + step], mtime=0) for at in range(0, len(diff), step)]
    return Layer(diff, b"".join(parts), "application/vnd.oci.image.layer.v1.tar+gzip")


def base(seed: int) -> bytes:
    """Stands for a distribution: some hundred kilobytes of other files."""
    noise = random.Random(seed)
    files = [(f"usr/lib/python3/site-packages/part{at}.py", noise.randbytes(20_000)) for at in range(15)]
    return tar(member("etc/os-release", b"ID=none\n"), *(member(name, data) for name, data in files))


def by_copy(path: str) -> dict[str, Any]:
    return {"created_by": f"COPY framework.yml /{path} # buildkit"}


BASE_HISTORY: list[dict[str, Any]] = [
    {"created_by": "/bin/sh -c #(nop) ADD file:0 in / "},
    {"created_by": 'CMD ["python3"]', "empty_layer": True},
]
BY_RUN = {"created_by": "RUN /bin/sh -c pip install harness && harness-metadata > /dev/null # buildkit"}
AFTERWARDS = {"created_by": "RUN /bin/sh -c useradd eval # buildkit"}
USERS = tar(member("etc/passwd", b"eval:x:1000:1000::/:/bin/sh\n"))


def lm_eval(layout: Layout, path: str, file: bytes) -> Descriptor:
    """An index of two platforms with attestations; gzip, by COPY."""
    history = [*BASE_HISTORY, by_copy(path)]
    images = [
        layout.manifest(
            [Layer.gzipped(base(seed)), Layer.gzipped(tar(member(path, file)))],
            platform=f"linux/{architecture}",
            history=history,
        )
        | {"platform": {"os": "linux", "architecture": architecture}}
        for seed, architecture in enumerate(("amd64", "arm64"))
    ]
    return layout.index([*images, attestation(layout, images[0]["digest"])])


def attestation(layout: Layout, subject: str) -> Descriptor:
    statement = layout.put(encoded({"predicateType": "https://slsa.dev/provenance/v1"}), "application/json")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": layout.put(encoded({}), "application/vnd.oci.image.config.v1+json"),
        "layers": [statement],
    }
    return layout.put(encoded(document), OCI_MANIFEST) | {
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": subject,
        },
    }


def simple_evals(layout: Layout, path: str, file: bytes) -> Descriptor:
    """zstd, by RUN, with a layer above."""
    return layout.manifest(
        [zstd(base(2)), zstd(tar(member("opt/eval/app.py", b""), member(path, file))), zstd(USERS)],
        history=[*BASE_HISTORY, BY_RUN, AFTERWARDS],
    )


def mmath(layout: Layout, path: str, file: bytes) -> Descriptor:
    """gzip, by COPY over an older definition from a lower layer."""
    older = file.replace(b"mmath_en", b"mmath_before")
    return layout.manifest(
        [
            Layer.gzipped(base(3)),
            Layer.gzipped(tar(member(path, older))),
            Layer.gzipped(tar(member(f"./{path}", file))),
        ],
        history=[*BASE_HISTORY, BY_RUN, by_copy(path)],
    )


def mtbench_evaluator(layout: Layout, path: str, file: bytes) -> Descriptor:
    """zstd for one of two platforms, by RUN; another harness's definition, deleted by a later layer."""
    other = "opt/metadata/other"
    diffs = (
        base(4),
        tar(member(f"{other}/framework.yml", b"not: one\n"), member(path, file)),
        tar(member("opt/metadata/.wh.other")),
    )
    images = [
        layout.manifest(
            map(compress, diffs), platform=f"linux/{architecture}", history=[*BASE_HISTORY, BY_RUN, BY_RUN]
        )
        | {"platform": {"os": "linux", "architecture": architecture}}
        for architecture, compress in (("amd64", zstd), ("arm64", Layer.gzipped))
    ]
    return layout.index(images)


def bfcl(layout: Layout, path: str, file: bytes) -> Descriptor:
    """A plain layer whose folder a layer of several gzip members makes opaque, by RUN."""
    folder = path.rpartition("/")[0]
    return layout.manifest(
        [
            gzip_members(base(5)),
            Layer.plain(tar(member("opt/metadata/before/framework.yml", b"not: one\n"))),
            gzip_members(
                tar(member("opt/metadata/.wh..wh..opq"), member(f"{folder}/x.py"), member(path, file))
            ),
            Layer.gzipped(USERS),
        ],
        history=[*BASE_HISTORY, BY_RUN, BY_RUN, AFTERWARDS],
    )


MAKERS: Mapping[str, Callable[[Layout, str, bytes], Descriptor]] = {
    "lm_eval": lm_eval,
    "simple_evals": simple_evals,
    "mmath": mmath,
    "mtbench_evaluator": mtbench_evaluator,
    "bfcl": bfcl,
}


def definition_in(wheel: Path) -> tuple[str, bytes]:
    """Where an image carries the wheel's framework.yml, and the file."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (
            n for n in archive.namelist() if n.startswith("core_evals/") and n.endswith("/framework.yml")
        )
        return f"opt/metadata/{name.split('/')[1]}/framework.yml", archive.read(name)


@pytest.fixture(scope="module")
def definitions(real_wheels: RealWheels) -> dict[str, tuple[str, bytes]]:
    names = {wheel.name.split("-")[0].removeprefix("nvidia_"): wheel for wheel in real_wheels.harnesses}
    assert sorted(names) == sorted(ENTRIES)
    return {name: definition_in(names[name]) for name in ENTRIES}


Push = Callable[[str, str, bytes, str], str]


@pytest.fixture(scope="module")
def push(registry: str, skopeo: Skopeo, tmp_path_factory: pytest.TempPathFactory) -> Push:
    """Makes an image in the way of an entry and pushes it; gives back its reference."""

    def make_and_push(entry: str, path: str, file: bytes, name: str) -> str:
        layout = Layout(tmp_path_factory.mktemp("layout") / entry)
        digest = layout.add(MAKERS[entry](layout, path, file), "made")
        reference = f"{registry}/real/{name}:26.3"
        skopeo(
            "copy",
            "--all",
            "--preserve-digests",
            f"oci:{layout.root}:made",
            f"docker://{reference}",
            "--dest-tls-verify=false",
        )
        assert digest.startswith("sha256:")
        return reference

    return make_and_push


@pytest.fixture(scope="module")
def images(definitions: Mapping[str, tuple[str, bytes]], push: Push) -> dict[str, str]:
    return {entry: push(entry, path, file, entry) for entry, (path, file) in definitions.items()}


@pytest.fixture
def root(images: Mapping[str, str], tmp_path: Path) -> Path:
    """A catalog of all five, synced, in a git repository."""
    root = tmp_path / "repository" / "catalog"
    root.mkdir(parents=True)
    write_mapping(root, images)
    ran = evaldock("sync", "--catalog", root)
    assert ran.code == 0, ran.err
    git(root, "init", "-q", "-b", "main", str(root.parent))
    commit(root)
    return root


def write_mapping(root: Path, images: Mapping[str, str]) -> None:
    tables = [f'[{entry}]\ncontainer = "{image}"\n' for entry, image in images.items()]
    (root / "mapping.toml").write_text("\n".join(tables))


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "State")


@pytest.fixture(scope="module")
def reference(real_wheels: RealWheels) -> dict[str, Any]:
    """The catalog inside the launcher's wheel."""
    with zipfile.ZipFile(real_wheels.launcher) as archive:
        text = archive.read("nemo_evaluator_launcher/resources/all_tasks_irs.yaml")
    loaded: dict[str, Any] = yaml.load(io.BytesIO(text), Loader=yaml.CSafeLoader)
    return loaded


def told_by_us(task: Task) -> dict[str, Any]:
    parts = list(task.description_parts)
    return {
        "name": task.name,
        "harness": task.harness,
        "description": parts or task.description,
        "defaults": task.defaults,
    }


def told_by_them(task: Mapping[str, Any]) -> dict[str, Any]:
    """Without the empty `extra` that they add to parameters which have none."""
    defaults = plain(task["defaults"])
    params = defaults["config"].get("params", {})
    if params.get("extra") == {}:
        del params["extra"]
    return {**task, "defaults": defaults}


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value


def test_every_task_is_equal_in_every_field(root: Path, reference: Mapping[str, Any]) -> None:
    catalog = store.load(root)
    assert catalog.problems == ()
    assert {harness.name: len(harness.tasks) for harness in catalog.harnesses} == TASKS
    theirs = {(t["harness"], t["name"]): told_by_them(t) for t in reference["tasks"] if t["harness"] in TASKS}
    ours = {(task.harness, task.name): told_by_us(task) for task in catalog.tasks}
    assert len(catalog.tasks) == len(ours) == len(theirs) == sum(TASKS.values())
    for key, task in ours.items():
        assert task == theirs[key], key
        # Python takes 1 for 1.0 and for true.
        assert repr(ordered(task)) == repr(ordered(theirs[key])), key


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(inner) for inner in value] if isinstance(value, list) else value


def test_every_harness_is_described_alike(root: Path, reference: Mapping[str, Any]) -> None:
    theirs = {one["name"]: one for one in reference["harnesses"]}
    for harness in store.load(root).harnesses:
        told = theirs[harness.name]
        assert harness.full_name == told["full_name"]
        assert harness.description == told["description"]
        assert harness.url == told["url"]


def test_images_are_read_where_and_how_they_hold_the_file(
    root: Path, definitions: Mapping[str, tuple[str, bytes]]
) -> None:
    catalog = store.load(root)
    for harness in catalog.harnesses:
        path, file = definitions[harness.entry]
        (source,) = harness.sources
        assert source.path == f"/{path}"
        assert f"sha256:{source.sha256}" == sha256(file)
        assert harness.image.complete  # every layer here is small
    architectures = {harness.entry: harness.image.architectures for harness in catalog.harnesses}
    assert architectures["lm_eval"] == architectures["mtbench_evaluator"] == ("amd64", "arm64")
    assert architectures["mmath"] == ("amd64",)


def test_syncing_again_changes_not_one_byte(root: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.*")}
    ran = evaldock("sync", "--catalog", root, "--json")
    assert ran.code == 0
    assert ran.json["cost"]["requests"] == len(ENTRIES)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.*")} == before
    assert evaldock("check", "--remote", "--catalog", root).code == 0


def test_a_moved_tag_is_found_read_and_told_task_by_task(
    root: Path, images: Mapping[str, str], definitions: Mapping[str, tuple[str, bytes]], push: Push
) -> None:
    path, file = definitions["mmath"]
    own = push("mmath", path, file, "mmath-moving")
    write_mapping(root, {**images, "mmath": own})
    assert evaldock("sync", "--catalog", root, "--json").json["entries"][2]["result"] == "unchanged"
    commit(root)

    newer = file.replace(b"mmath_vi", b"mmath_it").replace(b"temperature: 0.6", b"temperature: 0.7")
    push("mmath", path, newer, "mmath-moving")
    assert evaldock("check", "--catalog", root).code == 0
    checked = evaldock("check", "--remote", "--format", "github", "--catalog", root)
    assert checked.code == 1
    line = (root / "mapping.toml").read_text().splitlines().index(f'container = "{own}"') + 1
    assert checked.out.startswith(
        f"::error file=catalog/mapping.toml,line={line},title=evaldock%3A image-moved::"
    )

    assert evaldock("sync", "--catalog", root).code == 0
    assert evaldock("check", "--remote", "--catalog", root).code == 0
    difference = evaldock("diff", "HEAD", "--catalog", root, "--json", "--exit-code")
    assert difference.code == 1
    tasks = difference.json["tasks"]
    assert tasks["added"] == ["mmath.mmath_it"]
    assert tasks["removed"] == ["mmath.mmath_vi"]
    assert len(tasks["changed"]) == 9
    assert {field["path"] for task in tasks["changed"] for field in task["fields"]} == {
        "config.params.temperature"
    }
    comment = evaldock("diff", "HEAD", "--catalog", root, "--format", "markdown").out
    assert "- added `mmath.mmath_it`" in comment
    assert "- changed 9 alike: `mmath.mmath_en`" in comment


def test_real_tasks_are_listed_and_shown(root: Path, images: Mapping[str, str]) -> None:
    listed = evaldock("ls", "tasks", "--catalog", root, "--json").json
    assert len(listed) == sum(TASKS.values())
    shown = evaldock("show", "mmath_en", "--catalog", root, "--rendered")
    assert shown.code == 0
    assert "mmath --model-url https://endpoint.example/v1/chat/completions" in shown.out
    on_the_fly = evaldock("ls", "tasks", "--from", images["mmath"], "--json").json
    assert [one["id"] for one in on_the_fly] == [o["id"] for o in listed if o["harness"] == "mmath"]
    assert len(on_the_fly) == TASKS["mmath"]


def test_every_real_command_can_be_rendered(root: Path) -> None:
    for task in store.load(root).tasks:
        ran = evaldock("show", task.id, "--rendered", "--json", "--catalog", root)
        assert ran.code == 0, ran.err
        assert "{{" not in ran.json["rendered"]


def test_a_page_with_real_harnesses_stays_up_to_date(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- evaldock:harnesses -->\n<!-- evaldock:end -->\n")
    assert evaldock("readme", page, "--catalog", root).code == 0
    text = page.read_text()
    assert "| [lm-evaluation-harness](https://" in text
    assert len(text.splitlines()) == 2 + 2 + 2 + len(ENTRIES)
    assert evaldock("readme", page, "--check", "--catalog", root).code == 0
