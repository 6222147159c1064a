"""With which keys somebody logs in on another machine: those of files, and those that the agent has."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from catalog.errors import Refused
from launcher.ssh_config import CONFIG

_DEFAULT = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
_CERTIFICATE = "-cert.pub"
_MAGIC = b"openssh-key-v1\0"


class Keys:
    """paramiko's question how to log in (`auth_strategy`). Of chosen keys each is offered, by its file or by
    the agent that has its private half; others of the agent come behind, or not at all: servers count them as
    failures."""

    def __init__(
        self, paramiko: Any, said: Mapping[str, Any], key_path: str | None, user: str, named: str
    ) -> None:
        self._paramiko, self._user, self._named = paramiko, user, named
        self._wanted = Path(key_path).expanduser() if key_path else None
        chosen = [key_path] if key_path else said.get("identityfile", [])
        self._are_chosen = bool(chosen)
        self._files = [Path(name).expanduser() for name in chosen or _DEFAULT]
        self._only = bool(key_path) or str(said.get("identitiesonly")).lower() == "yes"
        self._locked: list[Path] = []
        self._notes: list[str] = []

    def authenticate(self, transport: Any) -> None:
        if self._wanted and not self._wanted.is_file():
            raise Refused(f"the key file {self._wanted} is not there", hint="see execution.ssh_key_path")
        offered: dict[tuple[str, bytes], str] = {}
        with self._agent() as held:
            for key in self._keys(held):
                if (identity := _identity(key)) in offered:
                    continue
                try:
                    missing = transport.auth_publickey(self._user, key)
                except self._paramiko.BadAuthenticationType as error:
                    raise self._more(error.allowed_types) from None
                except self._paramiko.SSHException as error:
                    offered[identity] = str(error)
                    if not transport.is_active():
                        break
                    continue
                if not missing:
                    return
                offered[identity] = "it asks for a further key"
                if "publickey" not in missing:
                    raise self._more(missing)
        raise self._refusal(list(offered.values()))

    @contextmanager
    def _agent(self) -> Iterator[Sequence[Any]]:
        agent = None
        with suppress(self._paramiko.SSHException, OSError):
            agent = self._paramiko.Agent()
        try:
            yield agent.get_keys() if agent else ()
        finally:
            if agent:
                agent.close()

    def _keys(self, held: Sequence[Any]) -> Iterator[Any]:
        others = () if self._only else held
        if self._are_chosen:
            yield from self._of_files(held)
            yield from others
        else:
            yield from others
            yield from self._of_files(held)

    def _of_files(self, held: Sequence[Any]) -> Iterator[Any]:
        for path in self._files:
            if path.is_file():
                yield from self._of_file(path, held)
            elif self._are_chosen:
                # ssh passes over it, too: a configuration may be for several machines.
                self._notes.append(f"{path} is not there")

    def _of_file(self, path: Path, held: Sequence[Any]) -> Sequence[Any]:
        """The key in it, or the agent's that belongs to it."""
        problem: Exception
        try:
            return [self._private(path)]
        except (self._paramiko.SSHException, ValueError, OSError) as error:
            problem = error
        public = _public_half(path)
        if known := [key for key in held if public and public in (key.blob, key.asbytes())]:
            return known
        if isinstance(problem, self._paramiko.PasswordRequiredException):
            self._locked.append(path)
            self._notes.append(f"{path} has a passphrase")
        else:
            why = problem.strerror if isinstance(problem, OSError) else "no private key is in it"
            self._notes.append(f"{path}: {why}, nor has the agent one for it")
        return []

    def _private(self, path: Path) -> Any:
        problem: Exception = ValueError("no key")
        for kind in (self._paramiko.RSAKey, self._paramiko.ECDSAKey, self._paramiko.Ed25519Key):
            try:
                key = kind.from_private_key_file(str(path))
            except self._paramiko.PasswordRequiredException:
                raise
            except (self._paramiko.SSHException, ValueError) as error:
                problem = error
            else:
                certificate = path.with_name(path.name + _CERTIFICATE)
                if certificate.is_file():
                    key.load_certificate(str(certificate))
                return key
        raise problem

    def _more(self, allowed: Sequence[str]) -> Refused:
        return Refused(
            f"{self._named} asks for {', '.join(allowed)}",
            hint="a key is needed, or run evaldock on that machine",
        )

    def _refusal(self, answers: Sequence[str]) -> Refused:
        if self._locked and not answers:
            file = shlex.quote(str(self._locked[0]))
            return Refused(
                f"the key for {self._named} has a passphrase", hint=f"give it to your agent: ssh-add {file}"
            )
        said = "; ".join([answers[-1] if answers else "there is none to offer", *self._notes])
        return Refused(
            f"{self._named} accepts none of the keys: {said}",
            hint="try `ssh` by hand; execution.username and execution.ssh_key_path, or IdentityFile in "
            f"{CONFIG}, say who comes with which key",
        )


def _identity(key: Any) -> tuple[str, bytes]:
    certificate = key.public_blob
    return key.get_name(), certificate.key_blob if certificate else key.asbytes()


def _public_half(path: Path) -> bytes | None:
    """Of a public key's file, or a private one's that says it in the open or has it beside."""
    beside = path.with_name(path.name + ".pub")
    text = _text(path)
    return _of_line(text) or _of_private(text) or _of_line(_text(beside))


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def _of_line(text: str) -> bytes | None:
    """`TYPE BASE64 [COMMENT]`"""
    kind, _, rest = text.partition(" ")
    with suppress(ValueError, IndexError):
        made = base64.b64decode(rest.split()[0], validate=True)
        return made if made[4:].startswith(kind.encode()) and kind else None
    return None


def _of_private(text: str) -> bytes | None:
    """OpenSSH's own format has it before what is encrypted: see PROTOCOL.key there."""
    body = "".join(line for line in text.splitlines() if not line.startswith("-"))
    with suppress(ValueError):
        data = base64.b64decode(body, validate=True)
        if data.startswith(_MAGIC):
            rest = data.removeprefix(_MAGIC)
            # Cipher, key derivation, its options; then how many keys there are.
            for _ in range(3):
                _, rest = _field(rest)
            return _field(rest[4:])[0]
    return None


def _field(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    return data[4:end], data[end:]
