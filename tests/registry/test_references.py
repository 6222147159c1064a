"""Image references: every form that people and tools write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UsageError
from catalog.references import Digest, ImageRef, Transport

HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("ubuntu", "docker.io", "library/ubuntu", "latest", None),
        ("ubuntu:22.04", "docker.io", "library/ubuntu", "22.04", None),
        ("team/harness", "docker.io", "team/harness", "latest", None),
        (f"repo@{SHA256}", "docker.io", "library/repo", None, SHA256),
        (f"repo:tag@{SHA256}", "docker.io", "library/repo", "tag", SHA256),
        ("localhost:5000/a/b:1", "localhost:5000", "a/b", "1", None),
        ("localhost/a", "localhost", "a", "latest", None),
        ("[::1]:5000/a/b", "[::1]:5000", "a/b", "latest", None),
        ("docker.io/ubuntu", "docker.io", "library/ubuntu", "latest", None),
        ("docker.io/library/ubuntu:1", "docker.io", "library/ubuntu", "1", None),
        ("index.docker.io/team/x:1", "docker.io", "team/x", "1", None),
        ("registry-1.docker.io/team/x:1", "docker.io", "team/x", "1", None),
        ("docker://nvcr.io/nvidia/eval-factory/x:26.3", "nvcr.io", "nvidia/eval-factory/x", "26.3", None),
        ("host.example:443/a_b/c--d/e__f.g", "host.example:443", "a_b/c--d/e__f.g", "latest", None),
        ("  ubuntu:1\n", "docker.io", "library/ubuntu", "1", None),
    ],
)
def test_registry_references(
    text: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    ref = ImageRef.parse(text)
    assert (ref.transport, ref.registry, ref.repository) == (Transport.REGISTRY, registry, repository)
    assert (ref.tag, str(ref.digest) if ref.digest else None) == (tag, digest)


@pytest.mark.parametrize(
    ("text", "transport", "path", "tag"),
    [
        ("oci:layout", Transport.OCI, Path("/base/layout"), None),
        ("oci:layout:1.0", Transport.OCI, Path("/base/layout"), "1.0"),
        ("oci:/abs/dir:tag", Transport.OCI, Path("/abs/dir"), "tag"),
        ("oci:a:b/c", Transport.OCI, Path("/base/a:b/c"), None),
        ("oci-archive:file.tar:x", Transport.OCI_ARCHIVE, Path("/base/file.tar"), "x"),
    ],
)
def test_path_references(text: str, transport: Transport, path: Path, tag: str | None) -> None:
    ref = ImageRef.parse(text, base=Path("/base"))
    assert (ref.transport, ref.path, ref.tag) == (transport, path, tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "https://registry.example/a",
        "http://registry.example/a",
        "registry.example/",
        "registry.example/Upper",
        "registry.example/a//b",
        "registry.example/../a",
        "registry.example/a:",
        "registry.example/a:b c",
        "registry.example/a:.dot",
        "registry.example/a@sha256:short",
        f"registry.example/a@sha256:{HEX.upper()}",
        f"registry.example/a@md5:{HEX}",
        "user:password@registry.example/a",
        "-bad.example/a",
        "registry.example:port/a",
        "registry.example:65536/a",
        "oci:",
        "oci::tag",
        "registry.example/a\nb",
        "registry.example/a?x=y",
        "registry.example/" + "a" * 300,
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        ImageRef.parse(text)


def test_says_what_is_wrong() -> None:
    with pytest.raises(UsageError) as caught:
        ImageRef.parse("registry.example/a:b c")
    assert str(caught.value) == (
        "invalid tag 'b c' in 'registry.example/a:b c'\n  letters, digits, '_', '.', '-'; at most 128"
    )


component = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+)*", fullmatch=True).filter(
    lambda text: len(text) < 40
)
hosts = st.sampled_from(["registry.example", "localhost:5000", "127.0.0.1:80", "[::1]:5000", "a-b.example"])
tags = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
digests = st.none() | st.binary(max_size=8).map(Digest.of)


@given(host=hosts, parts=st.lists(component, min_size=1, max_size=4), tag=tags, digest=digests)
def test_what_is_printed_parses_to_the_same(
    host: str, parts: list[str], tag: str | None, digest: Digest | None
) -> None:
    text = f"{host}/{'/'.join(parts)}{':' + tag if tag else ''}{f'@{digest}' if digest else ''}"
    ref = ImageRef.parse(text)
    assert (ref.registry, ref.repository, ref.digest) == (host, "/".join(parts), digest)
    assert ref.tag == (tag if tag or digest else "latest")
    assert ImageRef.parse(str(ref)) == ref


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        ref = ImageRef.parse(text)
    except UsageError:
        return
    assert ImageRef.parse(str(ref)).name == ref.name


@given(name=component, digest=st.binary(max_size=8).map(Digest.of))
def test_pinning_drops_the_tag(name: str, digest: Digest) -> None:
    pinned = ImageRef.parse(f"registry.example/{name}:tag").pinned(digest)
    assert str(pinned) == f"registry.example/{name}@{digest}"


@given(st.binary(max_size=100))
def test_a_digest_matches_its_bytes_only(data: bytes) -> None:
    digest = Digest.of(data)
    assert Digest.parse(str(digest)) == digest
    assert digest.matches(data)
    assert not digest.matches(data + b"x")


def test_sha512_digests() -> None:
    digest = Digest.parse("sha512:" + "a" * 128)
    assert (digest.algorithm, digest.short) == ("sha512", "a" * 12)
    assert not digest.matches(b"")
