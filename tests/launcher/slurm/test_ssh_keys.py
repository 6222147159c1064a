"""With which keys one comes to another machine: those that `ssh` gets there with, too, and a real agent."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.errors import Refused, UsageError
from launcher.ssh import Address, SshHost
from services.sshd import Sshd

PHRASE = "a passphrase"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One with more keys than a server lets anybody try."""
    sock = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        while not sock.exists():
            assert process.poll() is None
        for number in range(7):
            add(made(tmp_path / f"other{number}"))
        yield
    finally:
        process.terminate()
        process.wait()


def made(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def add(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True)


@pytest.fixture
def locked(sshd: Sshd, tmp_path: Path) -> Path:
    """The accepted key's private half alone, encrypted."""
    copied = tmp_path / "locked"
    shutil.copy(sshd.key, copied)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", PHRASE, "-f", str(copied)], check=True)
    return copied


def configure(sshd: Sshd, home: Path, *lines: str) -> None:
    text = f"Host cluster\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
    (home / ".ssh" / "config").write_text(text + "".join(f"  {line}\n" for line in lines))


def comes_in(address: Address = Address(hostname="cluster")) -> bool:  # noqa: B008 # frozen
    host = SshHost(address)
    try:
        return host.run(["echo", "in"]).out == b"in\n"
    finally:
        host.close()


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("how", ["chosen", "setting", "public"])
def test_the_agent_has_the_chosen_keys_private_half(
    sshd: Sshd, own_environment: Path, tmp_path: Path, locked: Path, how: str
) -> None:
    public = tmp_path / "only.pub"
    shutil.copy(sshd.key.with_suffix(".pub"), public)
    key = public if how == "public" else locked
    address = Address(hostname="cluster", key_path=str(locked) if how == "setting" else None)
    configure(
        sshd, own_environment, *([] if how == "setting" else ["IdentitiesOnly yes", f"IdentityFile {key}"])
    )
    with pytest.raises(
        Refused, match="has a passphrase" if key is locked else "nor has the agent one for it"
    ):
        comes_in(address)
    add(sshd.key)
    assert comes_in(address)


@pytest.mark.usefixtures("agent")
def test_a_chosen_key_goes_before_the_agents_others(sshd: Sshd, own_environment: Path, locked: Path) -> None:
    add(sshd.key)
    configure(sshd, own_environment, f"IdentityFile {locked}")
    assert comes_in()


@pytest.mark.usefixtures("agent")
def test_a_key_whose_public_half_lies_beside(sshd: Sshd, own_environment: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    make = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", PHRASE, "-f", str(old)]
    subprocess.run(make, check=True)
    configure(sshd, own_environment, "IdentitiesOnly yes", f"IdentityFile {old}")
    with pytest.raises(Refused, match="has a passphrase"):
        comes_in()
    # Such a file doesn't say what its public half is.
    shutil.copy(sshd.key.with_suffix(".pub"), old.with_suffix(".pub"))
    add(sshd.key)
    assert comes_in()


def test_a_file_that_is_not_there_is_passed_over(sshd: Sshd, own_environment: Path, tmp_path: Path) -> None:
    configure(sshd, own_environment, f"IdentityFile {tmp_path}/none", f"IdentityFile {sshd.key}")
    assert comes_in()
    configure(sshd, own_environment, f"IdentityFile {tmp_path}/none", "ProxyCommand none")
    with pytest.raises(Refused, match=rf"there is none to offer; {tmp_path}/none is not there"):
        comes_in()


def test_what_a_configuration_includes(sshd: Sshd, own_environment: Path, tmp_path: Path) -> None:
    folder = own_environment / ".ssh"
    (folder / "more").mkdir()
    known = (folder / "config").read_text()
    (folder / "more" / "a.conf").write_text(known)
    (folder / "more" / "b.conf").write_text("Include more/../deeper\n")
    (folder / "deeper").write_text(known.replace("Host cluster", "Host deeper"))
    (folder / "config").write_text(
        "Host other\n  Include nowhere\n  Include elsewhere\nHost *\n"
        f"Include ~/.ssh/more/*.conf\n  ConnectTimeout 7\nInclude = {folder}/none*\n"
    )
    # Only where its block holds.
    (folder / "elsewhere").write_text("Host *\n  Port 1\n")
    for name in ("cluster", "deeper"):
        assert comes_in(Address(hostname=name))
    with pytest.raises(Exception, match="at other:1"):
        comes_in(Address(hostname="other"))
    (folder / "deeper").write_text("Include deeper\n")
    with pytest.raises(UsageError, match="more than 16 files"):
        comes_in()
