"""What reaching a backend takes, as files that only their owner can read, for as long as a step lasts.

A workflow gives them as variables: EVALDOCK_SSH_KEY and EVALDOCK_SSH_KNOWN_HOSTS for Slurm behind SSH,
RAY_AUTH_TOKEN for Ray. Lepton's client takes LEPTON_WORKSPACE_TOKEN from the environment alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from catalog.errors import UsageError
from launcher.runs.run_directory import write_bytes
from launcher.ssh_config import CONFIG_VARIABLE

SSH_KEY, KNOWN_HOSTS, RAY_TOKEN = "EVALDOCK_SSH_KEY", "EVALDOCK_SSH_KNOWN_HOSTS", "RAY_AUTH_TOKEN"
GIT_TOKEN = "EVALDOCK_TOKEN"  # noqa: S105 # the name of the variable
_FOLDER = "credentials"


def hand_over(environ: Mapping[str, str], folder: Path) -> tuple[dict[str, str], str]:
    """The environment for commands, with files below `folder` in the place of secrets; and the token for git,
    which no command gets. They are taken out of this process's own environment too.

    Raises UsageError for a key without the hosts it is for.
    """
    made = {name: value for name, value in environ.items() if name not in (SSH_KEY, KNOWN_HOSTS, RAY_TOKEN)}
    token = made.pop(GIT_TOKEN, "")
    files = folder / _FOLDER
    if key := environ.get(SSH_KEY, "").strip():
        known = environ.get(KNOWN_HOSTS, "").strip()
        if not known:
            raise UsageError(
                f"{SSH_KEY} is set, and {KNOWN_HOSTS} isn't",
                hint="`ssh-keyscan HOST` prints what belongs there; ask the host's owner whether it is right",
            )
        key_file, hosts_file = _write(files / "ssh_key", key), _write(files / "known_hosts", known)
        config = f"Host *\n  IdentityFile {key_file}\n  IdentitiesOnly yes\n  UserKnownHostsFile {hosts_file}"
        made[CONFIG_VARIABLE] = str(_write(files / "ssh_config", config))
    if ray := environ.get(RAY_TOKEN, "").strip():
        made["RAY_AUTH_TOKEN_PATH"] = str(_write(files / "ray_token", ray))
    for name in (SSH_KEY, KNOWN_HOSTS, RAY_TOKEN, GIT_TOKEN):
        os.environ.pop(name, None)
    return made, token


def remove(folder: Path) -> None:
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Keys are refused where their last line has no end.
    write_bytes(path, f"{text}\n".replace("\r\n", "\n").encode(), mode=0o600)
    return path
