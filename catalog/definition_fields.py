"""The fields of a framework definition's `defaults`: their names, kinds, and what is taken for them.

Runners of these files read them with pydantic's lax rules, so `temperature: 1e-7`, which is a text to YAML
1.1, becomes 1e-07, `top_p: 1` becomes 1.0 and `parallelism: 8.0` becomes 8; rendered commands depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from catalog.yaml_text import DateText

ENDPOINT_TYPES = ("undefined", "chat", "completions", "completions_logprob", "embedding")
# `vlm` is what `chat` with pictures was called; definitions still list it among their endpoint types.
LISTED_ENDPOINT_TYPES = (*ENDPOINT_TYPES, "vlm")
CAPABILITIES = (
    "logprobs",
    "tools",
    "image_url",
    "image_url_with_detail",
    "multi_image_url",
    "video_url",
    "audio_url",
)


class Unfit(ValueError):
    """A value that a field can't take; the message says what was expected."""


def whole_number(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            number_ = _parsed(value)
            if number_ is not None and number_.is_integer():
                return int(number_)
    raise Unfit("a whole number")


def number(value: Any) -> float:
    found = _parsed(value) if isinstance(value, str | int | float) else None
    if found is None:
        raise Unfit("a number")
    return found


def any_number(value: Any) -> int | float:
    """Of a limit: a whole number counts samples, a fraction is a share."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        try:
            return whole_number(value)
        except Unfit:
            return number(value)
    return value


def _parsed(value: str | float) -> float | None:
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


_TRUE, _FALSE = {"true", "t", "yes", "y", "on", "1"}, {"false", "f", "no", "n", "off", "0"}


def flag(value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise Unfit("true or false")


def text(value: Any) -> str:
    if isinstance(value, DateText):
        raise Unfit("text (an unquoted date is none)")
    if not isinstance(value, str):
        raise Unfit("text")
    return value


def texts(value: Any) -> list[str]:
    if isinstance(value, list) and all(type(item) is str for item in value):
        return value
    raise Unfit("a list of texts")


def free(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise Unfit("a mapping")


def endpoint_type(value: Any) -> str:
    if value == "vlm":
        return "chat"
    if value not in ENDPOINT_TYPES:
        raise Unfit(f"one of {', '.join(ENDPOINT_TYPES)}")
    return str(value)


Take = Callable[[Any], Any]
# A field leads to how its value is taken, or to the fields of the mapping that it is.
Fields = Mapping[str, "Take | Fields"]

PARAMS: Fields = {
    "limit_samples": any_number,
    "max_new_tokens": whole_number,
    "max_retries": whole_number,
    "parallelism": whole_number,
    "task": text,
    "temperature": number,
    "request_timeout": whole_number,
    "top_p": number,
    "extra": free,
}
CONFIG: Fields = {
    "output_dir": text,
    "params": PARAMS,
    "supported_endpoint_types": texts,
    "required_capabilities": texts,
    "type": text,
}
API_ENDPOINT: Fields = {
    "api_key_name": text,
    "model_id": text,
    "stream": flag,
    "type": endpoint_type,
    "url": text,
    "adapter_config": free,
}
DEFAULTS: Fields = {"command": text, "config": CONFIG, "target": {"api_endpoint": API_ENDPOINT}}


def without_nulls(values: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """`values` less the known fields that are null; what free mappings and unknown keys hold stays."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        below = fields.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            kept[key] = without_nulls(value, below)
        elif value is not None or below is None:
            kept[key] = value
    return kept


def with_nulls(values: Mapping[str, Any], fields: Fields = DEFAULTS) -> dict[str, Any]:
    """`values` with null for every known field that is missing: what a command template may ask about.

    A missing mapping becomes one of nulls, save the free ones (`extra`, which is empty then, and
    `adapter_config`).
    """
    filled = dict(values)
    for key, below in fields.items():
        value = filled.get(key)
        if isinstance(below, Mapping) and (value is None or isinstance(value, Mapping)):
            filled[key] = with_nulls(value or {}, below)
        elif value is None:
            filled[key] = {} if key == "extra" else None
    return filled
