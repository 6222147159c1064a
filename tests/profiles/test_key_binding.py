"""A bound key goes to its URL and nowhere else, however the other URL is spelt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import InvalidInput, Refused, UsageError
from launcher.jobs import JobPlan
from launcher.plans.planning import plan_run
from launcher.profiles import env_file
from launcher.profiles import profile as profiles
from launcher.profiles.key_binding import VARIABLE, Keys, address
from planned_runs import RUN_ID, catalog, config

BOUND = "https://api.example/v1"
TABLE = f"""\
[prod]
secrets = ["HF_TOKEN"]
[prod.keys]
"{BOUND}" = "API_KEY"
"https://api.example/v1/deep" = "DEEP_KEY"
"http://127.0.0.1:8000/v1" = "LOCAL_KEY"
"https://judge.example" = "JUDGE_KEY"
[other.keys]
"https://other.example/v1" = "OTHER_KEY"
"https://elsewhere.example/v1" = "API_KEY"
[plain]
"""
NAMES = ("API_KEY", "DEEP_KEY", "LOCAL_KEY", "JUDGE_KEY", "OTHER_KEY", "HF_TOKEN", "FREE")


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / "env.toml").write_text(TABLE)
    return {env_file.VARIABLE: str(tmp_path / "env.toml"), **dict.fromkeys(NAMES, "x")}


def keys(environ: Mapping[str, str], profile: str | None = "prod", *, required: bool = False) -> Keys:
    environ = {**environ, VARIABLE: "1" if required else ""}
    return profiles.keys(profiles.load(profile, environ) if profile else None, environ)


def planned(data: Mapping[str, Any], keys: Keys, environ: Mapping[str, str]) -> JobPlan:
    whole = {"evaluation": {"tasks": ["chat"]}, **data}
    made = plan_run(
        catalog(), config(whole), environ=environ, run_id=RUN_ID, directory=Path("/runs/one"), keys=keys
    )
    return made.plan.jobs[0]


def asking(url: str, key: str | None = None, **more: Any) -> dict[str, Any]:
    return {"target": {"api_endpoint": {"url": url, "model_id": "m", "api_key_name": key}}, **more}


HOSTILE = [
    "http://api.example/v1",
    "https://api.example:8443/v1",
    "https://api.example:80/v1",
    "https://api.example/v2",
    "https://api.example/v1x",
    "https://api.example/",
    "https://api.example/v1/../v2/v1",
    "https://api.example/v1/../../evil/v1",
    "https://api.example/v1/./v1",
    "https://api.example/v1/%2e%2e/evil/v1",
    "https://api.example/v1/%2E%2E%2Fevil/v1",
    "https://api.example/v1%2f..%2fevil/v1",
    "https://api.example/v1//evil/v1",
    "https://api.example/v1/..;/evil/v1",
    "https://api.example/v1/..;a=b/evil/v1",
    "https://api.example/v1/..%3b/evil/v1",
    "https://api.example/v1/%252e%252e/evil/v1",
    "https://api.example/v1/%0d%0aHost:evil.example/v1",
    "https://api.example/v1%/v1",
    "https://api.example//v1",
    "https://api.example.evil.example/v1",
    "https://evilapi.example/v1",
    "https://sub.api.example/v1",
    "https://api.example./v1",
    "https://api.example@evil.example/v1",
    "https://api.example:443@evil.example/v1",
    "https://api.example%2f@evil.example/v1",
    "https://user:password@api.example/v1",
    "https://@api.example/v1",
    "https://evil.example#@api.example/v1",
    "https://evil.example?@api.example/v1",
    "https://evil.example/https://api.example/v1",
    "https://evil.example\\@api.example/v1",
    "https://api.example\\.evil.example/v1",
    "https:\\\\api.example/v1",
    "https:/api.example/v1",
    "https:api.example/v1",
    "https:///api.example/v1",
    "https://api.example /v1",
    "https://api.example\t.evil.example/v1",
    "https://api.example\n.evil.example/v1",
    "https://api.example\r\nHost: evil.example/v1",
    "https://api.example\x00.evil.example/v1",
    "https://api.ex\u00adample/v1",
    "https://api\u3002example/v1",
    "https://api\uff0eexample/v1",
    "https://\uff41pi.example/v1",
    "https://\u0430pi.example/v1",
    "https://api.example\u2044v1",
    "https://api.example\uff0fv1",
    "https://api.examp\u212ae/v1",
    "https://xn--pi-7kc.example/v1",
    "https://api.example:0443x/v1",
    "https://api.example:99999/v1",
    "https://api.example:/v1x",
    "https://[api.example]/v1",
    "https://[::1]/v1",
    "https://api.example;evil.example/v1",
    "https://api.example,evil.example/v1",
    "https://api.example&evil.example/v1",
    "https://api.example{{x}}/v1",
    "https://$(curl evil.example)/v1",
    "ftp://api.example/v1",
    "//api.example/v1",
    "javascript:https://api.example/v1",
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_no_spelling_of_another_url_gets_the_key(url: str, environ: Mapping[str, str]) -> None:
    held = keys(environ)
    assert held.key_for(url) is None
    with pytest.raises((Refused, InvalidInput)) as caught:
        planned(asking(url, "API_KEY"), held, environ)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example/v1",
        "https://api.example/v1/",
        "https://api.example:443/v1",
        "https://api.example:0443/v1",
        "HTTPS://API.Example/v1",
        "https://api.example/v1/chat/completions",
        "https://api.example/v1/models/a@b:1/chat?api-version=2",
    ],
)
def test_every_spelling_of_its_own_url_gets_it_by_itself(url: str, environ: Mapping[str, str]) -> None:
    assert keys(environ).key_for(url) == "API_KEY"


def test_a_bound_url_gets_its_key(environ: Mapping[str, str]) -> None:
    held = keys(environ)
    job = planned(asking(BOUND), held, environ)
    assert job.endpoint.key_name == "API_KEY"
    assert [secret.name for secret in job.secrets] == ["API_KEY"]
    assert planned(asking(f"{BOUND}/deep/v1"), held, environ).endpoint.key_name == "DEEP_KEY"
    assert planned(asking("http://127.0.0.1:8000/v1"), held, environ).endpoint.key_name == "LOCAL_KEY"
    assert planned(asking("https://free.example/v1"), held, environ).endpoint.key_name is None


@pytest.mark.parametrize(
    ("url", "bound"),
    [
        ("http://127.0.0.1/v1", False),
        ("http://127.0.0.1:8001/v1", False),
        ("http://127.1:8000/v1", False),
        ("http://2130706433:8000/v1", False),
        ("http://0x7f.0.0.1:8000/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://[::ffff:127.0.0.1]:8000/v1", False),
        ("http://127.0.0.1:8000/v1/chat/completions", True),
    ],
)
def test_this_machine_is_an_address_like_any_other(url: str, bound: bool, environ: Mapping[str, str]) -> None:
    assert (keys(environ).key_for(url) == "LOCAL_KEY") is bound


def test_the_refusal_names_place_and_remedy(environ: Mapping[str, str], tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        planned(asking("https://user:hunter2@evil.example/v1", "API_KEY"), keys(environ), environ)
    assert str(caught.value) == (
        "keys would go where they are not bound to go:\n"
        f"  - evaluation.tasks[0] (chat): API_KEY is bound to {BOUND} ({tmp_path}/env.toml:4) and may not be "
        "sent to 'https://…@evil.example/v1/chat/completions' (it has a user name before its host)\n"
        "  bind the key to that URL in env.toml ([PROFILE.keys]), or use another key"
    )


def test_a_key_keeps_its_bounds_without_a_profile(environ: Mapping[str, str]) -> None:
    for profile in (None, "plain"):
        held = keys(environ, profile)
        assert held.key_for(BOUND) is None, "who selects no profile gets no key unasked"
        planned(asking(BOUND, "API_KEY"), held, environ)
        planned(asking("https://elsewhere.example/v1", "API_KEY"), held, environ)
        with pytest.raises(Refused):
            planned(asking("https://evil.example/v1", "API_KEY"), held, environ)
        with pytest.raises(Refused):
            planned(asking(BOUND, "OTHER_KEY"), held, environ)
    with pytest.raises(Refused):
        # The selected profile has its own say.
        planned(asking("https://elsewhere.example/v1", "API_KEY"), keys(environ), environ)


@pytest.mark.parametrize(
    "where",
    [
        {"execution": {"env_vars": {"MINE": "host:API_KEY"}}},
        {"execution": {"env_vars": {"MINE": "API_KEY"}}},
        {"execution": {"env_vars": {"API_KEY": "runtime:API_KEY"}}},
        {"execution": {"env_vars": {"OPENAI_API_KEY": "host:API_KEY?"}}},
        {"evaluation": {"tasks": ["chat"], "env_vars": {"API_KEY": "host:API_KEY"}}},
        {"evaluation": {"tasks": ["chat"], "required_env_vars": ["API_KEY"]}},
        {"evaluation": {"tasks": [{"name": "chat", "env_vars": {"X": "host:API_KEY"}}]}},
        {
            "deployment": {
                "type": "generic",
                "command": "serve",
                "image": "x",
                "env_vars": {"TOKEN": "host:API_KEY"},
            }
        },
    ],
)
def test_a_key_by_another_name_is_the_same_key(where: dict[str, Any], environ: Mapping[str, str]) -> None:
    with pytest.raises(Refused, match="API_KEY"):
        planned(
            asking("https://evil.example/v1", "MINE" if "MINE" in repr(where) else None, **where),
            keys(environ),
            environ,
        )


def test_a_deployment_beside_is_not_the_bound_url(environ: Mapping[str, str]) -> None:
    server = {"deployment": {"type": "generic", "command": "serve", "image": "x", "served_model_name": "m"}}
    target = {"target": {"api_endpoint": {"api_key_name": "API_KEY"}}}
    with pytest.raises(Refused, match=r"may not be sent to 'http://127\.0\.0\.1:8000/v1/chat/completions'"):
        planned({**target, **server}, keys(environ), environ)
    assert planned(server, keys(environ), environ).endpoint.key_name == "LOCAL_KEY"


def test_an_endpoint_that_is_found_when_jobs_start(environ: Mapping[str, str], tmp_path: Path) -> None:
    hosted = {"api_endpoint": {"deployment_name": "mine", "model_id": "m", "api_key_name": "API_KEY"}}
    lepton = {"type": "lepton", "resource_shape": "cpu.small"}
    with pytest.raises(Refused, match=r"may not be sent to 'https://mine\.lepton\.invalid/"):
        planned({"target": hosted, "execution": lepton}, keys(environ), environ)
    more = '"https://mine.lepton.invalid" = "API_KEY"'
    (tmp_path / "env.toml").write_text(TABLE.replace("[prod.keys]", f"[prod.keys]\n{more}"))
    held = keys(environ, required=True)
    assert planned({"target": hosted, "execution": lepton}, held, environ).endpoint.key_name == "API_KEY"
    own = {"api_endpoint": {"model_id": "m"}}
    server = {"type": "generic", "command": "serve", "image": "registry.example/x:1"}
    job = planned({"target": own, "execution": lepton, "deployment": server}, held, environ)
    assert job.endpoint.key_name == "LEPTON_ENDPOINT_KEY"


def test_a_judges_key_goes_with_its_url(environ: Mapping[str, str]) -> None:
    def task(judge: dict[str, Any]) -> dict[str, Any]:
        overrides = {"config": {"params": {"extra": {"judge": judge}}}}
        variables = {"JUDGE_KEY": "host:JUDGE_KEY"}
        return {
            "evaluation": {
                "tasks": [{"name": "chat", "nemo_evaluator_config": overrides, "env_vars": variables}]
            }
        }

    held = keys(environ)
    good = {"url": "https://judge.example/v1", "model_id": "j", "api_key": "JUDGE_KEY"}
    assert {s.name for s in planned(asking(BOUND, **task(good)), held, environ).secrets} == {
        "API_KEY",
        "JUDGE_KEY",
    }
    for judge in (
        {**good, "url": "https://evil.example/v1"},
        {**good, "proxy": "http://evil.example"},
        {"url": good["url"]},
        {"api_key": "JUDGE_KEY"},
    ):
        with pytest.raises(Refused, match="the job would hold JUDGE_KEY, which is bound to"):
            planned(asking(BOUND, **task(judge)), held, environ)


def test_where_keys_must_be_bound(environ: Mapping[str, str]) -> None:
    held = keys(environ, required=True)
    planned(asking(BOUND), held, environ)
    planned(asking("https://free.example/v1"), held, environ)
    planned(asking(BOUND, execution={"env_vars": {"HF_TOKEN": "host:HF_TOKEN"}}), held, environ)
    with pytest.raises(
        Refused, match=r"no profile binds FREE to 'https://free\.example/v1/chat/completions'"
    ):
        planned(asking("https://free.example/v1", "FREE"), held, environ)
    with pytest.raises(Refused, match="no profile binds FREE or lists it under `secrets`"):
        planned(asking(BOUND, execution={"env_vars": {"FREE": "host:FREE"}}), held, environ)
    with pytest.raises(Refused, match=r"HF_TOKEN \(as OPENAI_API_KEY\).*keeps its name"):
        planned(asking(BOUND, execution={"env_vars": {"OPENAI_API_KEY": "host:HF_TOKEN"}}), held, environ)
    with pytest.raises(Refused, match="so it is no endpoint's key"):
        planned(asking("https://free.example/v1", "HF_TOKEN"), held, environ)
    image = f"registry.example/x@sha256:{'1' * 64}"
    with pytest.raises(Refused, match="only the catalog's image may hold a bound key"):
        planned(asking(BOUND, evaluation={"tasks": [{"name": "chat", "container": image}]}), held, environ)
    for variables in ({"HTTPS_PROXY": "lit:evil.example:1"}, {"BASE": "lit:https://evil.example"}):
        with pytest.raises(Refused, match="leads to an address"):
            planned(asking(BOUND, execution={"env_vars": variables}), held, environ)
    adapter = {"interceptors": [{"name": "x", "config": {"to": "see https://evil.example/x"}}]}
    endpoint = {"api_endpoint": {"url": BOUND, "model_id": "m", "adapter_config": adapter}}
    with pytest.raises(Refused, match=r"'https://evil\.example/x' stands in the configuration"):
        planned({"target": endpoint}, held, environ)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"https://api.example/v1" = "sk-secret-1"', "expected the name of the variable that holds the key"),
        ('"https://api.example/v1" = 3', "expected the name of the variable that holds the key"),
        ('"https://u:p@api.example/v1" = "K"', "it has a user name before its host"),
        ('"https://api.example/v1?x=1" = "K"', "a key is bound to a URL without a query"),
        ('"https://api.example/a/../b" = "K"', "its path has dot segments"),
        ('"https://b\u00fccher.example" = "K"', "write an international host in its xn-- form"),
        ('"ftp://api.example" = "K"', "expected http:// or https://, got ftp://"),
        ('"api.example" = "K"', "it is not a plain URL such as https://api.example/v1"),
        (
            '"https://a.example/v1" = "K"\n"https://A.example:443/v1/" = "L"',
            "the same as 'https://a.example/v1'",
        ),
    ],
)
def test_bindings_that_bind_nothing_are_mistakes_for_everybody(
    line: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "env.toml").write_text(f"[good]\n[bad.keys]\n{line}\n")
    environ = {env_file.VARIABLE: str(tmp_path / "env.toml")}
    for profile in (None, profiles.load("good", environ)):
        with pytest.raises(InvalidInput) as caught:
            profiles.keys(profile, environ)
        assert expected in str(caught.value)
        assert "sk-secret" not in str(caught.value)


def test_a_child_rebinds_what_its_parent_binds(tmp_path: Path) -> None:
    text = (
        '[a.keys]\n"https://x.example" = "A"\n[b]\nextends = "a"\n[b.keys]\n"https://X.example:443/" = "B"\n'
    )
    (tmp_path / "env.toml").write_text(text)
    environ = {env_file.VARIABLE: str(tmp_path / "env.toml")}
    assert keys(environ, "b").key_for("https://x.example/v1") == "B"
    assert keys(environ, "a").key_for("https://x.example/v1") == "A"


@given(
    st.text(max_size=12), st.sampled_from(["", "https://api.example", "https://", "https://api.example/v1"])
)
def test_what_is_understood_is_what_every_client_reads(tail: str, head: str) -> None:
    """Whatever passes is of one origin for Python's own reader, too."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    try:
        found = address(head + tail)
    except UsageError:
        return
    parts = urlsplit(head + tail)
    assert (found.scheme, found.host.strip("[]"), found.port) == (
        parts.scheme,
        parts.hostname,
        parts.port or {"http": 80, "https": 443}[parts.scheme],
    )
    assert parts.username is None
    assert not parts.fragment
