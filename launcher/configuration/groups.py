"""What a configuration can name without a file: built-in groups for `defaults:`, and backends' settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Backends that have settings of their own under `execution`, as `module:class` (a subclass of `Execution`).
EXECUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "lepton": "launcher.configuration.lepton:Lepton",
        "ray": "launcher.configuration.ray:RayExecution",
        "slurm": "launcher.configuration.slurm:SlurmExecution",
    }
)

GROUPS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "execution": {
            "local": {"type": "docker"},
            "docker": {"type": "docker"},
            "process": {"type": "process"},
            "slurm": {"type": "slurm"},
            "lepton": {"type": "lepton"},
            "ray": {"type": "ray"},
        },
        "deployment": {
            "none": {"type": "none"},
            "generic": {"type": "generic", "port": 8000, "health_path": "/health"},
            "vllm": {"type": "vllm", "port": 8000, "health_path": "/health"},
            "sglang": {"type": "sglang", "port": 8000, "health_path": "/health"},
            "nim": {"type": "nim", "port": 8000, "health_path": "/v1/health/ready"},
        },
    }
)
