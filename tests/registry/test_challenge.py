"""WWW-Authenticate as registries really write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.registry.challenge import Challenge, parse


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
            'scope="repository:library/ubuntu:pull"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/ubuntu:pull",
                    },
                )
            ],
        ),
        (
            'Bearer realm="https://x/jwt/auth", service="a, b", scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://x/jwt/auth", "service": "a, b", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (r'Basic realm="say \"hi\", friend"', [("basic", {"realm": 'say "hi", friend'})]),
        (
            "Bearer realm=https://x/token,service=y",
            [("bearer", {"realm": "https://x/token", "service": "y"})],
        ),
        ('BEARER REALM = "x"', [("bearer", {"realm": "x"})]),
        (
            'Basic realm="a", Bearer realm="b",scope="c"',
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b", "scope": "c"})],
        ),
        ('Negotiate abc==, Basic realm="a"', [("negotiate", {}), ("basic", {"realm": "a"})]),
        ('Negotiate, Bearer realm="b"', [("negotiate", {}), ("bearer", {"realm": "b"})]),
        ("Negotiate", [("negotiate", {})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ('Bearer realm="never closed', [("bearer", {})]),
        ("", []),
        (",,, ,", []),
        ('"quoted"', []),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse(header) == tuple(Challenge(scheme, parameters) for scheme, parameters in expected)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=30), min_size=1))
def test_any_value_survives_quoting(parameters: dict[str, str]) -> None:
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
    header = "Bearer " + ",".join(f'{name}="{value}"' for name, value in escaped.items())
    assert parse(header) == (Challenge("bearer", parameters),)


@given(st.text(alphabet='Bearer realm="x",\\= \t', max_size=60))
def test_nothing_hangs_or_raises(header: str) -> None:
    assert all(challenge.scheme for challenge in parse(header))
