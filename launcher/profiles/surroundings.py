"""What a run is composed within: its profile, the keys that are bound, what interpolations reach."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from catalog.errors import InvalidInput
from catalog.nearest import did_you_mean
from launcher.configuration.compose import Composed, Layer, compose
from launcher.configuration.model import Execution
from launcher.configuration.mounting import mounted
from launcher.configuration.resolvers import Context
from launcher.profiles import env_file, wandb_settings
from launcher.profiles import profile as profiles
from launcher.profiles.env_file import EnvFile
from launcher.profiles.key_binding import NO_KEYS, Keys
from launcher.profiles.profile import Profile

# Keys of `[cache]`.
CACHE = ("git_dir",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`file` is the env.toml that holds, `profile` what was selected of it, `git_dir` where checkouts lie.

    What is composed is validated, and then `settled` with the execution settings that come out of it.
    """

    file: EnvFile | None = None
    profile: Profile | None = None
    keys: Keys = NO_KEYS
    context: Context = field(default_factory=Context)
    base: tuple[Layer, ...] = ()
    git_dir: Path | None = None

    def compose(
        self, file: Path | None, overrides: Sequence[str], *, extra: Sequence[Layer] = ()
    ) -> Composed:
        """As `launcher.configuration.compose.compose`, within these surroundings."""
        layer = self.profile.layer if self.profile else None
        return compose(file, overrides, base=self.base, profile=layer, extra=extra, context=self.context)

    def settled(self, composed: Composed, execution: Execution, *, dry_run: bool) -> Composed:
        """`composed` with the folders of `${auto_mount:…}` (fetched unless it is a dry run) and `${art:…}` as
        jobs see them; the same object where nothing asked for one."""
        return mounted(
            composed,
            self.context,
            execution,
            git_dir=self.git_dir,
            shared_artifacts=self._shared_artifacts(),
            dry_run=dry_run,
        )

    def _shared_artifacts(self) -> bool:
        """Whether somebody has named the registry: other machines may see it."""
        named = self.context.environ.get("EVALDOCK_ARTIFACTS")
        section = self.file.section("artifacts") if self.file else {}
        return bool(named or section) and not str(named or section.get("backend")).startswith("wandb")


def of(
    profile: str | None,
    *,
    kind: str,
    run: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    dry_run: bool = False,
) -> Surroundings:
    """`kind` is `tasks` or `recipes`; `run` what `${run.…}` reaches beside the profile's values.
    A dry run asks no registry of artifacts on another machine.

    Raises what reading env.toml and its profile can raise.
    """
    chosen = profiles.load(profile, environ) if profile else None
    file = chosen.file if chosen else env_file.load(environ)
    keys = profiles.keys(chosen, environ)
    wandb = chosen.wandb if chosen else (file.section("wandb") if file else {})
    base = wandb_settings.layer(wandb, kind, file.place(("wandb",))) if file else None
    known = {key: value for key, value in wandb.items() if key in wandb_settings.VARIABLES}
    context = Context(
        environ=environ,
        secrets=keys.names | frozenset(chosen.secrets if chosen else ()),
        run={**run, **({"profile": profile} if profile else {}), **({"wandb": known} if known else {})},
        artifact=partial(_artifact, environ=environ, dry_run=dry_run),
    )
    return Surroundings(
        file=file,
        profile=chosen,
        keys=keys,
        context=context,
        base=(base,) if base is not None else (),
        git_dir=_git_dir(file) if file else None,
    )


def _git_dir(file: EnvFile) -> Path | None:
    """`[cache] git_dir`, relative to env.toml wherever the command is given. Raises InvalidInput."""
    section = file.section("cache")
    problems = [f"{key}: unknown key{did_you_mean(key, CACHE)}" for key in section if key not in CACHE]
    git_dir = section.get("git_dir")
    if git_dir is not None and not (isinstance(git_dir, str) and git_dir):
        problems.append(f"git_dir: expected the path of a folder, got {git_dir!r:.80}")
    if problems:
        raise InvalidInput("[cache] has mistakes:", problems, place=file.place(("cache",)))
    return file.path.resolve().parent / Path(git_dir).expanduser() if git_dir else None


def _artifact(name: str, part: str | None, *, environ: Mapping[str, str], dry_run: bool) -> str | None:
    """None for what a dry run would have to ask a server."""
    from launcher import artifacts  # noqa: PLC0415 # fsspec, only where an artifact is named

    if dry_run and not artifacts.open_registry(environ).local:
        return None
    return artifacts.resolve(name, part, environ=environ)
