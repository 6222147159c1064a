"""Another machine by SSH: one connection for everything that this process asks of it.

What `~/.ssh/config` says of a host holds (HostName, User, Port, IdentityFile, IdentitiesOnly, ProxyJump,
ProxyCommand, UserKnownHostsFile, HostKeyAlias, ConnectTimeout), and the host's own key must be in a
known_hosts file: an unknown or changed one ends the attempt.
"""

from __future__ import annotations

import atexit
import getpass
import logging
import os
import shlex
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from catalog.errors import EvaldockError, Refused, Unreachable, UsageError
from launcher.hosts import TIMEOUT, Ran, framed, same, sha256_of, unframed, waiting_for
from launcher.ssh_config import CONFIG, configured
from launcher.ssh_keys import Keys

PORT = 22
CONNECT_TIMEOUT = 20.0
KEEP_ALIVE = 20  # seconds
MOST_JUMPS = 5
BLOCK = 1 << 18
_KNOWN_HOSTS = "~/.ssh/known_hosts"
_EVERYBODYS = "/etc/ssh/ssh_known_hosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """As it stands in a configuration; what is None comes from `~/.ssh/config`."""

    hostname: str
    username: str | None = None
    port: int | None = None
    key_path: str | None = None


class SshHost:
    def __init__(self, address: Address) -> None:
        self.address, self.name = address, address.hostname
        # The last one leads to the host, those before it are what it goes through.
        self._clients: list[Any] = []
        self._sftp: Any = None
        self._lock = threading.RLock()

    def ready(self) -> None:
        self._connected()

    def run(self, argv: Sequence[str], *, data: bytes = b"", timeout: float = TIMEOUT) -> Ran:
        return self._execute(shlex.join(argv), data, timeout)

    def script(self, text: str, *, data: bytes = b"", timeout: float = TIMEOUT) -> Ran:
        command, program = framed(text)
        ran = self._execute(command, program + data, timeout)
        return Ran(ran.code, unframed(ran.out), ran.err)

    def put(self, source: Path, target: str) -> None:
        size, digest = source.stat().st_size, sha256_of(source)
        waiting = f"{target}.{digest[:16]}.part"
        if self._sha256(target) == digest:
            return
        with self._files() as files:
            done = min(_size(files, waiting), size)
            with source.open("rb") as file, files.open(waiting, "ab" if done else "wb") as there:
                there.set_pipelined(True)
                file.seek(done)
                while block := file.read(BLOCK):
                    there.write(block)
        arrived = self._sha256(waiting) == digest
        with self._files() as files:
            if not arrived:
                files.remove(waiting)
                raise Unreachable(
                    f"{source.name} did not arrive whole at {self.name}",
                    place=target,
                    hint="is there room on that file system? `df` there",
                )
            files.posix_rename(waiting, target)

    def get(self, source: str, target: Path, size: int, sha256: str) -> None:
        if same(target, size, sha256):
            return
        waiting = waiting_for(target, sha256)
        with self._files() as files, waiting.open("ab") as file:
            if file.tell() > size:
                file.truncate(0)
            # As bytes: a name needn't be text.
            with files.open(os.fsencode(source), "rb") as there:
                there.seek(file.tell())
                there.prefetch(size)
                # Never more than was promised: the file may still grow.
                while (left := size - file.tell()) and (block := there.read(min(BLOCK, left))):
                    file.write(block)
        if not same(waiting, size, sha256):
            waiting.unlink()
            raise Unreachable(
                f"what arrived from {self.name} is not what it said it would be",
                place=source,
                hint="it changed meanwhile, or the connection is not sound; collect it again",
            )
        waiting.replace(target)

    def close(self) -> None:
        with self._lock:
            clients, self._clients, self._sftp = self._clients, [], None
        for client in reversed(clients):
            client.close()

    def _sha256(self, path: str) -> str:
        # As a script: what a login prints by itself is no part of its answer.
        ran = self.script(shlex.join(["sha256sum", "--", path]), timeout=1800)
        # A backslash says that the name behind the digest is quoted.
        return ran.out.decode("utf-8", "replace").lstrip("\\")[:64] if ran.code == 0 else ""

    def _execute(self, command: str, data: bytes, timeout: float) -> Ran:
        with (
            self._talking() as client,
            client.get_transport().open_session(timeout=CONNECT_TIMEOUT) as channel,
        ):
            channel.settimeout(timeout)
            channel.exec_command(command)
            errors: list[bytes] = []
            reader = threading.Thread(target=_drain, args=(channel, errors), daemon=True)
            reader.start()
            # Who ends without reading everything says why by itself.
            with suppress(OSError):
                channel.sendall(data)
            channel.shutdown_write()
            out = bytearray()
            while block := channel.recv(BLOCK):
                out += block
            reader.join(timeout)
            # The connection may hang, too, before its last word.
            if not channel.status_event.wait(timeout):
                raise TimeoutError
            code = channel.recv_exit_status()
            if code == -1:
                raise EOFError("it was cut while a command ran")
        return Ran(code, bytes(out), b"".join(errors).decode("utf-8", "replace"))

    @contextmanager
    def _files(self) -> Iterator[Any]:
        with self._talking() as client:
            with self._lock:
                if self._sftp is None:
                    self._sftp = client.open_sftp()
                    self._sftp.get_channel().settimeout(TIMEOUT)
            yield self._sftp

    @contextmanager
    def _talking(self) -> Iterator[Any]:
        """The connection, made anew where it has ended. What goes wrong on it drops it."""
        paramiko = _paramiko()
        client = self._connected()
        try:
            yield client
        except (FileNotFoundError, PermissionError):
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.close()
            what = "no answer in time" if isinstance(error, TimeoutError) else str(error) or "it was cut"
            raise Unreachable(f"the connection to {self.name} broke: {what}", hint="try again") from None

    def _connected(self) -> Any:
        with self._lock:
            if not (self._clients and all(_is_up(client) for client in self._clients)):
                self.close()
                try:
                    _login(self.address, None, MOST_JUMPS, self._clients)
                except BaseException:
                    self.close()
                    raise
            return self._clients[-1]


@cache
def connection(address: Address) -> SshHost:
    """The process's one connection to this address; it is made when it is first used."""
    made = SshHost(address)
    atexit.register(made.close)
    return made


def _login(address: Address, through: Any, jumps: int, opened: list[Any]) -> Any:
    """A client that has logged in, `through` another one or by what the user's configuration says; it and
    those that it needs are added to `opened`."""
    paramiko = _paramiko()
    said = configured(paramiko, address.hostname)
    host, port = said.get("hostname", address.hostname), address.port or int(said.get("port", PORT))
    user, limit = address.username or said.get("user"), float(said.get("connecttimeout", CONNECT_TIMEOUT))
    if through is None:
        for hop in _hops(said):
            if jumps == 0:
                raise UsageError(f"ProxyJump for {host} goes round in a circle", place=CONFIG)
            through = _login(hop, through, jumps - 1, opened)
    client = paramiko.SSHClient()
    opened.append(client)
    _know_hosts(client, said)
    client.set_missing_host_key_policy(_Unknown())
    alias = said.get("hostkeyalias")
    named = f"{user}@{address.hostname}" if user else address.hostname
    try:
        client.connect(
            # With a socket of its own, these two only say under which name the host's key is known.
            alias or host,
            port=PORT if alias else port,
            sock=_way(host, port, said, through, limit),
            timeout=limit,
            banner_timeout=limit,
            auth_timeout=limit,
            auth_strategy=Keys(paramiko, said, address.key_path, user or getpass.getuser(), named),
        )
    except EvaldockError:
        raise
    except Exception as error:  # noqa: BLE001 # sorted by its class; whatever else it is, nobody answers there
        raise _problem(paramiko, error, named, (host, port)) from None
    client.get_transport().set_keepalive(KEEP_ALIVE)
    return client


def _way(host: str, port: int, said: Mapping[str, Any], through: Any, limit: float) -> Any:
    """What the connection goes through: another client, a command of the user's, or a plain socket."""
    if through is not None:
        return through.get_transport().open_channel(
            "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=limit
        )
    # paramiko's word for `ProxyCommand none` is None.
    if command := said.get("proxycommand"):
        return _command(command)
    return socket.create_connection((host, port), timeout=limit)


def _command(text: str) -> Any:
    """The user's ProxyCommand, which is waited for when the connection ends."""
    made = _paramiko().ProxyCommand(text)
    end, closing, ended = made.close, threading.Lock(), threading.Event()

    def close() -> None:
        """Also the connection's own thread calls it, at the same moment."""
        with closing:
            if ended.is_set():
                return
            ended.set()
            with suppress(ProcessLookupError):
                end()
            made.process.communicate()

    made.close = close
    return made


def _hops(said: Mapping[str, Any]) -> list[Address]:
    """`[user@]host[:port]`, separated by commas; the first is the nearest."""
    made = []
    for text in said.get("proxyjump", "none").split(","):
        user, _, rest = text.strip().removeprefix("ssh://").rpartition("@")
        host, colon, port = rest.rpartition(":")
        if not (colon and port.isdigit()):
            host, port = rest, ""
        if host and host.lower() != "none":
            name = host.strip("[]")
            made.append(Address(hostname=name, username=user or None, port=int(port) if port else None))
    return made


def _know_hosts(client: Any, said: Mapping[str, Any]) -> None:
    for name in (*shlex.split(said.get("userknownhostsfile", _KNOWN_HOSTS)), _EVERYBODYS):
        path = Path(name).expanduser()
        if path.is_file():
            client.load_system_host_keys(str(path))


class _Unknown:
    """paramiko's question what to do with a key that is in no known_hosts file."""

    def missing_host_key(self, _client: Any, hostname: str, key: Any) -> None:
        raise Refused(
            f"the SSH key of {hostname} is not known: {key.get_name()} {key.fingerprint}",
            hint="compare it with what the cluster's people publish, then connect once with ssh to keep it "
            f"in {_KNOWN_HOSTS}",
        )


def _problem(paramiko: Any, error: Exception, named: str, where: tuple[str, int]) -> EvaldockError:
    host, port = where
    if isinstance(error, paramiko.BadHostKeyException):
        name = host if port == PORT else f"[{host}]:{port}"
        return Refused(
            f"the SSH key of {name} has changed: it was {error.expected_key.fingerprint} "
            f"and is now {error.key.fingerprint}",
            hint=f"ask the cluster's people; if it is right: ssh-keygen -R '{name}'",
        )
    what = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    if "protocol banner" in what:
        what = "what answers there does not talk SSH"
    return Unreachable(
        f"{named} can't be reached at {host}:{port}: {what}", hint="is the name right, and a VPN needed?"
    )


def _is_up(client: Any) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _size(files: Any, path: str) -> int:
    try:
        return int(files.stat(path).st_size)
    except FileNotFoundError:
        return 0


def _drain(channel: Any, into: list[bytes]) -> None:
    with suppress(OSError):
        while block := channel.recv_stderr(BLOCK):
            into.append(block)


@cache
def _paramiko() -> Any:
    try:
        import paramiko  # noqa: PLC0415 # on use: it costs more than listing a catalog
    except ImportError:
        raise UsageError(
            "reaching a cluster by SSH needs an extra", hint="pip install 'evaldock[slurm]'"
        ) from None
    # What it reports there, tracebacks too, comes as an error of ours; without a handler it would be printed.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    return paramiko
