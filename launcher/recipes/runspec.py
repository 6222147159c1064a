"""What a recipe says of itself, as values (`launcher.recipes.runspec_reading` reads them from its script)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

SCHEMA = "1"
LAUNCHES = ("direct", "python", "torchrun", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunspecRun:
    """`cmd` replaces the call that `launch` stands for; `{script}` and `{config}` in it are the paths where
    the job runs. `workdir` is relative to the shipped code."""

    launch: str = "torchrun"
    cmd: str | None = None
    workdir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunspecConfig:
    """`dir` as it was written, relative to the script; `Runspec.config_dir` is the absolute one."""

    dir: str = "./config"
    default: str = "default"
    format: str = "omegaconf"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunspecResources:
    """`gpus_per_node` is a count, or `gpu` for all that a node has."""

    nodes: int = 1
    gpus_per_node: int | str = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Runspec:
    """`script` and `config_dir` are absolute. `stated` are the key paths that the script itself gives
    (`run.launch`), as against defaults. `warnings` are complete lines. `dependencies` and `requires_python`
    stand beside the table, as PEP 723 has them."""

    script: Path
    config_dir: Path
    schema: str = SCHEMA
    docs: str = ""
    name: str = ""
    image: str | None = None
    setup: str = ""
    run: RunspecRun = field(default_factory=RunspecRun)
    config: RunspecConfig = field(default_factory=RunspecConfig)
    resources: RunspecResources = field(default_factory=RunspecResources)
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dependencies: tuple[str, ...] = ()
    requires_python: str | None = None
    stated: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name, else its script's."""
        return self.name or self.script.stem
