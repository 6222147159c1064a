"""A framework.yml in parts, and what is read of it or told of its mistakes."""

from __future__ import annotations

import pytest

from catalog.errors import InvalidInput
from catalog.framework import Framework, parse

HEAD = """\
framework:
  name: sample
  pkg_name: sample_pkg
  full_name: Sample
  description: A sample.
  url: https://sample.example
"""
DEFAULTS = """\
defaults:
  command: run --task {{config.params.task}} --model {{target.api_endpoint.model_id}}
  config:
    supported_endpoint_types: [chat]
    params:
      limit_samples: null
      max_new_tokens: 10
      temperature: 0.5
      task: shared
      extra:
        languages: [en, de]
        judge:
          model: null
          retries: 3
  target:
    api_endpoint:
      stream: false
"""


def read(evaluations: str, *, head: str = HEAD, defaults: str = DEFAULTS, strict: bool = False) -> Framework:
    text = f"{head}{defaults}evaluations:{evaluations}"
    return parse(text.encode(), "framework.yml", strict=strict)


def problems(data: str, *, strict: bool = False) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse(data.encode(), "framework.yml", strict=strict)
    assert caught.value.place == "framework.yml"
    assert caught.value.exit_code == 2
    return list(caught.value.problems)
