"""The reproducible layer: its bytes, and that common tools read them."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from catalog.errors import Refused
from generator.pack_layer import Entry, gzip_stored, tar

LONG = "opt/" + "folder/" * 20 + "naïve file.txt"
ENTRIES = (
    Entry(name="opt/"),
    Entry(name="opt/plain.txt", content=b"plain\n"),
    Entry(name="opt/run", content=b"#!/bin/sh\n", executable=True),
    Entry(name="opt/link", link="plain.txt"),
    Entry(name="opt/empty"),
    Entry(name=LONG, content=b"deep" * 1000),
    Entry(name="opt/far", link="folder/" * 20 + "naïve file.txt"),
)


def joined(*entries: Entry) -> bytes:
    return b"".join(tar(entries))


def test_the_bytes_stay_the_same() -> None:
    """Whoever changes them changes the digest of every packed image: accept that by replacing the digests."""
    plain = joined(*ENTRIES)
    assert (
        hashlib.sha256(plain).hexdigest()
        == "14716d32d4a2c799817d8378715539405e50e888f514a9ea05d5ca033ea384eb"
    )
    assert (
        hashlib.sha256(b"".join(gzip_stored([plain]))).hexdigest()
        == "8aaf8999f196e935d0da3e3a696d66408777bbf456cd3941bf887c3ae05dd7d2"
    )


def test_python_reads_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(gzip_stored(tar(ENTRIES))))) as archive:
        members = {member.name: member for member in archive}
        assert list(members) == [entry.name.rstrip("/") for entry in ENTRIES]
        for member in members.values():
            assert (member.uid, member.gid, member.mtime, member.uname, member.gname) == (0, 0, 0, "", "")
        assert [members[name].mode for name in ("opt", "opt/plain.txt", "opt/run")] == [0o755, 0o644, 0o755]
        assert members["opt"].isdir()
        assert members["opt/link"].linkname == "plain.txt"
        assert members["opt/far"].linkname == "folder/" * 20 + "naïve file.txt"
        content = archive.extractfile(members[LONG])
        assert content is not None
        assert content.read() == b"deep" * 1000


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "layer.tar.gz"
    path.write_bytes(b"".join(gzip_stored(tar(ENTRIES))))
    listed = subprocess.run(
        ["tar", "--extract", "--gzip", "--verbose", "--file", path, "--directory", tmp_path],
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    assert listed.stderr == b""
    assert (tmp_path / LONG).read_bytes() == b"deep" * 1000
    assert (tmp_path / "opt" / "far").read_bytes() == b"deep" * 1000
    assert (tmp_path / "opt" / "run").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 131070, 200_000])
def test_gzip_does_not_depend_on_how_the_data_come(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    whole = b"".join(gzip_stored([data]))
    assert gzip.decompress(whole) == data
    assert b"".join(gzip_stored(data[at : at + 999] for at in range(0, size, 999))) == whole
    assert len(whole) <= size + 18 + 5 * (size // 65535 + 1)


def test_a_file_comes_from_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content" * 300_000)
    assert joined(Entry(name="a", file=tmp_path / "file")) == joined(
        Entry(name="a", content=b"content" * 300_000)
    )


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    chunks = tar([Entry(name="a", file=tmp_path / "file")])
    next(chunks)
    (tmp_path / "file").write_bytes(b"more content")
    with pytest.raises(Refused, match="the file changed while it was packed"):
        list(chunks)


def test_a_file_of_ten_gigabytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(Refused, match="a is larger than 8589934591 bytes"):
        next(tar([Entry(name="a", file=tmp_path / "file")]))
