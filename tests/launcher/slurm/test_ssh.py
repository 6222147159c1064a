"""One connection to another machine: who it trusts, how it comes there, and what it does when it is cut."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.errors import Refused, Unreachable, UsageError
from cuttable import relay
from launcher.ssh import Address, SshHost
from services.processes import free_port
from services.sshd import Sshd

ODD = "ü '\" $(touch pwned) `touch pwned` ${HOME} \\ \n; touch pwned #!é"


@pytest.fixture
def host(sshd: Sshd) -> Iterator[SshHost]:
    made = SshHost(Address(hostname="cluster"))
    yield made
    made.close()


def refused(address: Address) -> str:
    host = SshHost(address)
    try:
        with pytest.raises((Refused, Unreachable, UsageError)) as caught:
            host.ready()
    finally:
        host.close()
    return f"{type(caught.value).__name__}: {caught.value}"


def test_words_arrive_as_they_are(host: SshHost, tmp_path: Path) -> None:
    ran = host.run(["printf", "%s|", ODD, "", "*"])
    assert (ran.code, ran.out.decode(), ran.err) == (0, f"{ODD}||*|", "")
    assert host.run(["sh", "-c", "echo no >&2; exit 3"]).code == 3
    assert not list(tmp_path.rglob("pwned"))


def test_a_script_reads_its_data_and_is_in_no_process_list(host: SshHost) -> None:
    data = bytes(range(256)) * 4000
    ran = host.script("echo a-word-of-its-own >/dev/null; ps -eo args; sha256sum", data=data)
    listed, _, digest = ran.out.rstrip().rpartition(b"\n")
    assert digest.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert b"a-word-of-its-own" not in listed


def test_files_go_both_ways_and_go_on_where_they_were_cut(host: SshHost, tmp_path: Path) -> None:
    content = b"content \0\xff" * 100_000
    digest = hashlib.sha256(content).hexdigest()
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    source.write_bytes(content)
    # What a transfer that was cut leaves.
    there.with_name(f"there.{digest[:16]}.part").write_bytes(content[:1000])
    host.put(source, str(there))
    host.put(source, str(there))
    assert there.read_bytes() == content
    back.with_name(f".{digest[:32]}.part").write_bytes(content[:77_777])
    host.get(str(there), back, len(content), digest)
    assert back.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "source", "there"]


def test_a_file_arrives_where_a_login_greets(sshd: Sshd, host: SshHost, tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.write_bytes(b"content")
    host.ready()
    port = host._clients[-1].get_transport().sock.getsockname()[1]
    greeting = sshd.home / ".bashrc"
    # Nobody else's login.
    greeting.write_text(f'case $SSH_CLIENT in *" {port} "*) echo Welcome ;; esac\n')
    try:
        assert host.run(["true"]).out == b"Welcome\n"
        host.put(source, str(there))
    finally:
        greeting.unlink()
    assert there.read_bytes() == b"content"


def test_what_is_not_what_it_should_be_is_not_kept(host: SshHost, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"something else")
    with pytest.raises(Unreachable, match="not what it said it would be"):
        host.get(str(there), tmp_path / "back", 14, "0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with pytest.raises(FileNotFoundError):
        host.get(str(tmp_path / "missing"), tmp_path / "back", 1, "0" * 64)


def test_a_host_that_nobody_knows_is_refused(sshd: Sshd, own_environment: Path) -> None:
    (own_environment / ".ssh" / "known_hosts").unlink()
    said = refused(Address(hostname="cluster"))
    assert said.startswith(
        f"Refused: the SSH key of [127.0.0.1]:{sshd.port} is not known: ssh-ed25519 SHA256:"
    )
    assert "connect once with ssh to keep it in ~/.ssh/known_hosts" in said


def test_a_host_with_another_key_is_refused(sshd: Sshd, own_environment: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    key = " ".join(other.with_suffix(".pub").read_text().split()[:2])
    (own_environment / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key}\n")
    said = refused(Address(hostname="cluster"))
    assert said.startswith(f"Refused: the SSH key of [127.0.0.1]:{sshd.port} has changed: it was SHA256:")
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in said


def test_a_key_that_is_not_accepted(sshd: Sshd, tmp_path: Path) -> None:
    for name, phrase in (("unknown", ""), ("locked", "a passphrase")):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(tmp_path / name)]
        subprocess.run(make, check=True)
    said = refused(Address(hostname="cluster", key_path=str(tmp_path / "unknown")))
    assert said.startswith("Refused: ")
    assert "cluster accepts none of the keys" in said
    locked = refused(Address(hostname="cluster", key_path=str(tmp_path / "locked")))
    assert "has a passphrase" in locked
    assert "ssh-add" in locked
    missing = refused(Address(hostname="cluster", key_path=str(tmp_path / "missing")))
    assert f"the key file {tmp_path / 'missing'} is not there" in missing


def test_a_key_that_only_the_agent_has(
    sshd: Sshd, own_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_environment / ".ssh" / "config"
    kept = [line for line in config.read_text().splitlines(keepends=True) if "IdentityFile" not in line]
    config.write_text("".join(kept))
    assert "accepts none of the keys" in refused(Address(hostname="cluster"))
    sock = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        while not sock.exists():
            assert agent.poll() is None
        subprocess.run(["ssh-add", "-q", str(sshd.key)], check=True)
        host = SshHost(Address(hostname="cluster"))
        assert host.run(["echo", "in"]).out == b"in\n"
        host.close()
    finally:
        agent.terminate()
        agent.wait()


def test_through_jump_hosts_and_commands(sshd: Sshd, own_environment: Path) -> None:
    sshd.introduce(own_environment, "inner", more="  ProxyJump outer,cluster\n")
    sshd.introduce(own_environment, "outer")
    sshd.introduce(own_environment, "round", more="  ProxyJump round\n")
    sshd.introduce(own_environment, "direct", more="  ProxyJump none\n")
    for name, connections in (("inner", 3), ("direct", 1)):
        host = SshHost(Address(hostname=name))
        assert host.run(["echo", name]).out.decode().strip() == name
        assert len(host._clients) == connections
        host.close()
    assert "goes round in a circle" in refused(Address(hostname="round"))


def test_a_proxy_command(sshd: Sshd, own_environment: Path) -> None:
    forward = (
        "import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
        'threading.Thread(target=lambda:[os.write(1,d) for d in iter(lambda:s.recv(65536),b\\"\\")],'
        'daemon=True).start();[s.sendall(d) for d in iter(lambda:os.read(0,65536),b\\"\\")]'
    )
    sshd.introduce(own_environment, "by-command", more=f'  ProxyCommand python3 -c "{forward}" %h %p\n')
    host = SshHost(Address(hostname="by-command"))
    assert host.run(["echo", "through"]).out == b"through\n"
    host.close()


def test_who_is_not_there_is_unreachable(sshd: Sshd) -> None:
    said = refused(Address(hostname="127.0.0.1", port=free_port(), username="x"))
    assert said.startswith("Unreachable: x@127.0.0.1 can't be reached at 127.0.0.1:")
    assert refused(Address(hostname="no-such-host.invalid")).startswith("Unreachable: ")


def test_what_is_no_ssh_server_is_told_without_a_traceback() -> None:
    """In a process of its own: pytest takes what libraries log."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asking = (
            "from launcher.ssh import Address, SshHost\n"
            f"SshHost(Address(hostname='127.0.0.1', port={server.getsockname()[1]})).ready()"
        )
        command = [sys.executable, "-c", asking]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = server.accept()
            connection.close()
            _, said = process.communicate(timeout=60)
    assert said.count("Traceback") == 1
    assert "what answers there does not talk SSH" in said


def test_a_cut_connection_is_made_anew(sshd: Sshd, own_environment: Path, tmp_path: Path) -> None:
    with relay(sshd.port) as between:
        sshd.introduce(own_environment, "far", port=between.port)
        host = SshHost(Address(hostname="far"))
        for _ in range(5):
            assert host.run(["echo", "one"]).out == b"one\n"
        assert between.accepted == 1
        between.cut()
        with pytest.raises(Unreachable, match="far"):
            host.run(["echo", "two"])
        between.mend()
        assert host.run(["echo", "three"]).out == b"three\n"
        assert between.accepted == 2
        host.close()
