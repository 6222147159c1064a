"""A job's folder through its own output: what arrives, what is left behind, what is refused."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from catalog.errors import Refused
from launcher.node import result_stream
from launcher.node.result_stream import BEGIN, END, LIMIT, receive, unpack

EXIT = {"exit_code": 3, "reason": None, "started": "a", "ended": "b", "attempt": 2}


def job(folder: Path) -> Path:
    (folder / "artifacts").mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "artifacts" / "results.yml").write_text("results: {}\n")
    (folder / "artifacts" / "with ü and space").write_bytes(bytes(range(256)) * 40)
    (folder / "exit.json").write_text(json.dumps(EXIT) + "\n")
    (folder / "job.json").write_text("{}\n")
    (folder / "stage.exit").write_text("{}\n")
    (folder / "logs" / "job.log").write_text("printed\n")
    (folder / ".secrets").write_text("export KEY=secret\n")
    return folder


def sent(folder: Path, shell: list[str], limit: int = LIMIT) -> bytes:
    script = f"printf 'no newline'\n{result_stream.SENDING}\nsend_results {limit}\n"
    return subprocess.run([*shell, "-c", script], cwd=folder, capture_output=True, check=True).stdout


def packed(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return file.getvalue()


def test_a_folder_arrives_whole_through_any_shell(tmp_path: Path, shell: list[str]) -> None:
    folder = job(tmp_path / "there")
    received = receive(sent(folder, shell))
    assert (received.log, received.complete, received.left_out) == (b"no newline", True, None)
    assert received.exit is not None
    assert (received.exit.exit_code, received.exit.attempt) == (3, 2)
    assert received.packed is not None
    assert unpack(received.packed, tmp_path / "here") == ()
    for name in (
        "artifacts/results.yml",
        "artifacts/with ü and space",
        "exit.json",
        "job.json",
        "stage.exit",
    ):
        assert (tmp_path / "here" / name).read_bytes() == (folder / name).read_bytes()
    assert not (tmp_path / "here" / ".secrets").exists()
    assert not (tmp_path / "here" / "logs").exists()


def test_what_is_too_large_stays_and_the_scores_come(tmp_path: Path) -> None:
    folder = job(tmp_path / "there")
    (folder / "artifacts" / "large").write_bytes(b"".join(bytes([n * n % 251]) for n in range(100_000)))
    received = receive(sent(folder, ["sh"], limit=1000))
    assert received.left_out == "the job's folder has more than 1000 bytes when it is packed"
    assert received.exit is not None
    assert received.packed is not None
    unpack(received.packed, tmp_path / "here")
    assert (tmp_path / "here" / "artifacts" / "results.yml").exists()
    assert not (tmp_path / "here" / "artifacts" / "large").exists()


def test_not_even_the_scores_fit(tmp_path: Path) -> None:
    received = receive(sent(job(tmp_path), ["sh"], limit=10))
    assert received.left_out == "even artifacts/results.yml has more than 10 bytes when it is packed"
    assert (received.complete, received.packed) == (True, None)
    assert received.exit is not None


def test_an_image_without_tools_says_which_and_how_it_ended(tmp_path: Path) -> None:
    folder = job(tmp_path / "there")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("head", "wc", "tar", "base64"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    shell = shutil.which("sh")
    assert shell is not None
    script = f"PATH={tools}\n{result_stream.SENDING}\nsend_results {LIMIT}\n"
    received = receive(
        subprocess.run([shell, "-c", script], cwd=folder, capture_output=True, check=True).stdout
    )
    assert received.left_out == "the image has no gzip to pack results with"
    assert received.exit is not None
    assert received.packed is None


def test_an_output_cut_anywhere_never_shows_a_part_of_the_stream(tmp_path: Path) -> None:
    whole = sent(job(tmp_path), ["sh"])
    log = b"no newline"
    for length in range(len(whole)):
        received = receive(whole[:length])
        assert received.complete is (END in whole[:length])
        assert received.log in (log[:length], log, log + b"\n")
        if not received.complete:
            assert received.packed is None


def test_marks_that_the_job_itself_printed_are_its_log(tmp_path: Path) -> None:
    fake = b"a\n" + BEGIN + b'\nExit: {"exit_code": 0}\n\n' + END + b"\n"
    received = receive(fake + sent(job(tmp_path), ["sh"]))
    assert received.log == fake + b"no newline"
    assert received.exit is not None
    assert received.exit.exit_code == 3


@pytest.mark.parametrize(
    "body",
    [b"Exit: [1]\n\n", b"Exit: " + b"[" * 100_000 + b"\n\n", b"Exit: {\n\n%%%", b"\n!", b"nonsense", b""],
    ids=["a-list", "nested", "torn", "an-end", "words", "nothing"],
)
def test_a_stream_of_nonsense_is_no_exit_and_no_folder(body: bytes) -> None:
    received = receive(b"\n" + BEGIN + b"\n" + body + b"\n" + END + b"\n")
    assert (received.log, received.complete, received.exit, received.packed) == (b"", True, None, None)


def test_what_leads_out_of_the_folder_is_left_out(tmp_path: Path) -> None:
    outside = tarfile.TarInfo("../outside")
    outside.size = 3
    link = tarfile.TarInfo("artifacts/link")
    link.type, link.linkname = tarfile.SYMTYPE, "../../elsewhere"
    pipe = tarfile.TarInfo("artifacts/pipe")
    pipe.type = tarfile.FIFOTYPE
    fine = tarfile.TarInfo("artifacts/fine")
    fine.size = 3
    here = tmp_path / "here"
    assert unpack(packed(outside, link, pipe, fine), here) == (
        *("../outside", "artifacts/link", "artifacts/pipe"),
    )
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == ["fine"]


def test_names_that_no_folder_here_can_hold_are_left_out(tmp_path: Path) -> None:
    long, file, below, fine = (tarfile.TarInfo(name) for name in ("n" * 300, "file", "file/below", "fine"))
    lost = tarfile.TarInfo("lost")
    lost.type, lost.linkname = tarfile.LNKTYPE, "nowhere"
    for each in (long, file, below, fine):
        each.size = 3
    assert unpack(packed(long, file, below, lost, fine), tmp_path) == (long.name, "file/below", "lost")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "fine"]


@pytest.mark.parametrize(
    "headers", [{"mtime": "inf"}, {"mtime": "nan"}, {"mtime": "1e300"}, {"path": "odd\0"}], ids=str
)
def test_what_no_time_and_no_name_can_be_is_left_out(headers: dict[str, str], tmp_path: Path) -> None:
    odd, fine = tarfile.TarInfo("odd"), tarfile.TarInfo("fine")
    odd.size = fine.size = 3
    odd.pax_headers = headers
    (name,) = unpack(packed(odd, fine), tmp_path)
    assert name.startswith("odd")
    assert (tmp_path / "fine").read_bytes() == b"xxx"


def test_headers_of_another_kind_are_refused(tmp_path: Path) -> None:
    odd = tarfile.TarInfo("odd")
    odd.size, odd.pax_headers = 3, {"GNU.sparse.map": "words"}
    with pytest.raises(Refused, match="can't be unpacked"):
        unpack(packed(odd), tmp_path)


def test_a_full_disk_is_no_reason_to_leave_anything_out(small_disk: Path) -> None:
    large = tarfile.TarInfo("large")
    large.size = 2 << 20
    with pytest.raises(OSError, match="No space left"):
        unpack(packed(large), small_disk)


def test_a_bomb_and_a_torn_archive_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = tarfile.TarInfo("fine")
    fine.size = 3
    with pytest.raises(Refused, match="can't be unpacked"):
        unpack(packed(fine)[:40], tmp_path)
    with pytest.raises(Refused, match="can't be unpacked"):
        unpack(b"no archive", tmp_path)
    monkeypatch.setattr(result_stream, "UNPACKED", 5)
    other = tarfile.TarInfo("other")
    other.size = 3
    with pytest.raises(Refused, match="more than 5 bytes"):
        unpack(packed(fine, other), tmp_path)
