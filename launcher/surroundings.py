"""What a run is composed within: its profile, the keys that are bound, what interpolations reach.

around = surroundings.of("prod", kind="tasks", run={"id": identity})
composed = around.compose(file, overrides, extra=layers)
composed = around.settled(composed, validate(composed).execution, dry_run=False)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import env_file, profiles, wandb_settings
from launcher.configuration.compose import Composed, Layer, compose
from launcher.configuration.model import Execution
from launcher.configuration.mounting import mounted
from launcher.configuration.resolvers import Context
from launcher.env_file import EnvFile
from launcher.key_binding import Keys
from launcher.profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`file` is the env.toml that holds, `profile` what was selected of it."""

    file: EnvFile | None
    profile: Profile | None
    keys: Keys
    context: Context
    base: tuple[Layer, ...] = ()

    def compose(
        self, file: Path | None, overrides: Sequence[str], *, extra: Sequence[Layer] = ()
    ) -> Composed:
        """As `launcher.configuration.compose.compose`, within these surroundings."""
        return compose(
            file,
            overrides,
            base=self.base,
            profile=self.profile.layer if self.profile else None,
            extra=extra,
            context=self.context,
        )

    def settled(self, composed: Composed, execution: Execution, *, dry_run: bool) -> Composed:
        """`composed` with the folders of `${auto_mount:…}`, fetched unless it is a dry run; the same object
        where nothing asked for one."""
        git_dir = self.file.section("cache").get("git_dir") if self.file else None
        return mounted(composed, self.context.mounts, execution, git_dir=git_dir, dry_run=dry_run)


def of(
    profile: str | None,
    *,
    kind: str,
    run: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
) -> Surroundings:
    """`kind` is `tasks` or `recipes`; `run` what `${run.…}` reaches beside the profile's values.

    Raises what reading env.toml and its profile can raise.
    """
    chosen = profiles.load(profile, environ) if profile else None
    file = chosen.file if chosen else env_file.load(environ)
    keys = profiles.keys(chosen, environ)
    wandb = chosen.wandb if chosen else (file.section("wandb") if file else {})
    base = wandb_settings.layer(wandb, kind, file.place(("wandb",))) if file else None
    known = {
        **run,
        "profile": profile,
        "env": dict(chosen.execution) if chosen else {},
        "wandb": {key: value for key, value in wandb.items() if key in wandb_settings.VARIABLES},
    }
    context = Context(environ=environ, secrets=keys.names, run=known)
    return Surroundings(
        file=file, profile=chosen, keys=keys, context=context, base=(base,) if base is not None else ()
    )
