"""What `defaults:` can name without a file: the built-in execution and deployment groups."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

GROUPS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "execution": {
            "local": {"type": "docker"},
            "docker": {"type": "docker"},
            "process": {"type": "process"},
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
