"""Tokens: asked for once, renewed once, and credentials that reach nobody else."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog.errors import Refused, Unreachable
from generator.registry.source import RegistrySource
from generator.registry.urls import base_url
from logged_in import SECRET, login
from services.fake_registry import Basic, Bearer, FakeRegistry

Open = Callable[[str], RegistrySource]


def image(fake: FakeRegistry, repository: str = "a/b") -> str:
    fake.add_image(repository, [fake.add_layer(repository, {"x": b"x"})], tag="1")
    return fake.reference(repository, tag="1")


@pytest.mark.parametrize("answer", ["token", "access_token"])
def test_anonymous_token(fake: FakeRegistry, open_source: Open, answer: str) -> None:
    fake.auth = Bearer(anonymous=True, answer=answer)
    open_source(image(fake)).resolve(None)
    assert [(one.path.rpartition("/")[2][:6], one.status) for one in fake.log] == [
        ("1", 401),
        ("auth", 200),
        ("1", 200),
        ("sha256", 200),
    ]
    # No more is asked for than what is needed, though the challenge offers push as well.
    assert fake.log[1].query == "scope=repository%3Aa%2Fb%3Apull&service=fake%2C+registry"


def test_a_token_is_shared_by_all_images_of_a_repository(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(anonymous=True)
    reference = image(fake)
    for _ in range(3):
        open_source(reference).resolve(None)
    assert fake.count("/jwt/auth") == 1
    assert [one.status for one in fake.log].count(401) == 1


def test_a_known_challenge_saves_the_refusal(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(anonymous=True)
    open_source(image(fake, "a/b")).resolve(None)
    open_source(image(fake, "c/d")).resolve(None)
    assert [one.status for one in fake.log].count(401) == 1
    assert fake.count("/jwt/auth") == 2


def test_credentials_for_a_private_repository(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer("user", SECRET)
    reference = image(fake)
    with pytest.raises(Refused) as caught:
        open_source(reference).resolve(None)
    assert str(caught.value) == (
        f"{fake.host}/a/b: {fake.host} gives no access: http://{fake.host}/jwt/auth answered 401: "
        f"UNAUTHORIZED unauthorized\n  no credentials are kept for {fake.host}: docker login, or "
        "REGISTRY_AUTH_FILE"
    )
    login(fake.host)
    assert open_source(reference).resolve(None).platform == "linux/amd64"


def test_wrong_credentials_name_their_file(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer("user", "another")
    login(fake.host)
    with pytest.raises(Refused) as caught:
        open_source(image(fake)).resolve(None)
    assert f"the credentials from {Path.home()}/.docker/config.json ({fake.host})" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_basic(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Basic("user", SECRET)
    reference = image(fake)
    with pytest.raises(Refused, match="wants a name and a password"):
        open_source(reference).resolve(None)
    login(fake.host)
    open_source(reference).resolve(None)
    fake.reset()
    open_source(reference).resolve(None)
    assert [one.status for one in fake.log] == [200, 200]


def test_basic_refused(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Basic("user", "another")
    login(fake.host)
    with pytest.raises(Refused, match="access to tag '1' is denied"):
        open_source(image(fake)).resolve(None)
    assert [one.status for one in fake.log] == [401, 401]


def test_identity_token_is_exchanged(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(identity_token="exchange-me", answer="access_token")
    login(fake.host, identitytoken="exchange-me")
    open_source(image(fake)).resolve(None)
    (asked,) = [one for one in fake.log if one.path == "/jwt/auth"]
    assert asked.method == "POST"
    assert b"grant_type=refresh_token" in asked.body
    assert asked.query == ""


def test_an_unknown_scheme(fake: FakeRegistry, open_source: Open) -> None:
    fake.inject(status=401, headers={"WWW-Authenticate": "Negotiate"})
    with pytest.raises(Refused) as caught:
        open_source(image(fake)).resolve(None)
    assert str(caught.value) == f"{fake.host}/a/b: {fake.host} wants an authentication that isn't known here"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}', b'{"token": ""}']
)
def test_answers_that_are_no_token(fake: FakeRegistry, open_source: Open, body: bytes) -> None:
    fake.auth = Bearer(anonymous=True)
    fake.inject("/jwt/auth", status=200, body=body)
    with pytest.raises(Refused, match="the realm's answer"):
        open_source(image(fake)).resolve(None)


def test_an_expired_token_is_renewed_once_by_all_threads(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(anonymous=True)
    layers = [fake.add_blob("a/b", bytes([n]) * 1000) for n in range(12)]
    fake.add_image("a/b", layers, tag="1")
    source = open_source(fake.reference("a/b", tag="1"))
    found = source.resolve(None)
    fake.reset()
    fake.expire_tokens()
    fake.latency = 0.05
    ready = threading.Barrier(len(layers))

    def read(number: int) -> bytes:
        ready.wait()
        return source.read_range(found.layers[number], 0, 10)

    with ThreadPoolExecutor(len(layers)) as pool:
        read_all = list(pool.map(read, range(len(layers))))
    assert read_all == [bytes([n]) * 10 for n in range(12)]
    assert fake.count("/jwt/auth") == 1


def test_a_token_past_its_end_is_not_sent(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(anonymous=True, lifetime=2.0)
    reference = image(fake)
    open_source(reference).resolve(None)
    time.sleep(2.1)
    open_source(reference).resolve(None)
    assert fake.count("/jwt/auth") == 2
    assert [one.status for one in fake.log].count(401) == 1


def test_a_token_that_is_refused_is_renewed_once(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(anonymous=True, lifetime=-1.0)
    reference = image(fake)
    with pytest.raises(Refused, match="is denied"):
        open_source(reference).resolve(None)
    assert fake.count("/jwt/auth") == 1
    fake.auth.lifetime = 300.0
    open_source(reference).resolve(None)
    assert fake.count("/jwt/auth") == 2
    assert [one.status for one in fake.log[-3:]] == [200, 200, 200]


def test_a_refusal_is_shared_by_waiting_threads(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer("user", "another")
    fake.latency = 0.1
    login(fake.host)
    reference = image(fake)
    ready = threading.Barrier(6)

    def read(_: int) -> str:
        ready.wait()
        with pytest.raises(Refused) as caught:
            open_source(reference).resolve(None)
        return caught.value.message

    with ThreadPoolExecutor(6) as pool:
        messages = set(pool.map(read, range(6)))
    assert len(messages) == 1
    assert fake.count("/jwt/auth") == 1


def test_credentials_stay_with_their_registry(open_source: Open) -> None:
    """Another registry names the first one's realm, then its own: neither sees the first one's password."""
    with FakeRegistry() as mine, FakeRegistry() as other:
        login(mine.host)
        mine.auth = Bearer("user", SECRET)
        other.auth = Bearer(anonymous=True, realm=f"http://{mine.host}/jwt/auth")
        with pytest.raises(Refused):
            open_source(image(other)).resolve(None)
        other.auth = Bearer(anonymous=True)
        open_source(image(other)).resolve(None)
        assert all("authorization" not in one.headers for one in mine.log)
        assert all("Basic" not in one.headers.get("authorization", "") for one in other.log)
        # The registry itself gets its own, at the realm and nowhere else.
        open_source(image(mine)).resolve(None)
        basic = [one.path for one in mine.log if "Basic" in one.headers.get("authorization", "")]
        assert basic == ["/jwt/auth"]


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "ftp://127.0.0.1/x",
        "/jwt/auth",
        "",
        "http://127.0.0.1.evil.test/",
        "http://[x/",
    ],
)
def test_realms_that_get_no_request(fake: FakeRegistry, open_source: Open, realm: str) -> None:
    login(fake.host)
    fake.inject(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})
    with pytest.raises(Refused):
        open_source(image(fake)).resolve(None)
    assert len(fake.log) == 1


def test_over_plain_http_no_credentials_leave_this_machine(
    fake: FakeRegistry, open_source: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(fake.host)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{fake.host}")  # so that nothing else is ever asked
    fake.inject(status=401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.example/token"'})
    with pytest.raises(Unreachable, match=r"auth\.example can't be reached"):
        open_source(image(fake)).resolve(None)
    assert "names the realm https://auth.example/token: no credentials are sent there" in caplog.text


def test_redirected_blobs_carry_no_token(fake: FakeRegistry, open_source: Open) -> None:
    fake.auth = Bearer(anonymous=True)
    fake.redirect_blobs = True
    source = open_source(image(fake))
    found = source.resolve(None)
    source.read_range(found.layers[0], 0, 10)
    elsewhere = [one for one in fake.log if one.path.startswith("/signed/")]
    assert len(elsewhere) == 2
    assert all("authorization" not in one.headers and "cookie" not in one.headers for one in elsewhere)


def test_a_challenge_from_another_host_is_not_answered(fake: FakeRegistry, open_source: Open) -> None:
    login(fake.host, fake.other)
    fake.auth = Bearer("user", SECRET)
    fake.redirect_blobs = True
    reference = image(fake)
    challenge = f'Bearer realm="http://{fake.host}/jwt/auth",service="x"'
    fake.inject("/signed/", status=401, headers={"WWW-Authenticate": challenge})
    with pytest.raises(Refused, match="the registry sends to another host"):
        open_source(reference).resolve(None)
    assert fake.count("/jwt/auth") == 1


def test_nothing_secret_is_logged(
    fake: FakeRegistry, open_source: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    login(fake.host)
    fake.auth = Bearer("user", SECRET)
    fake.redirect_blobs = True
    source = open_source(image(fake))
    found = source.resolve(None)
    fake.inject("/signed/", drop=True, times=1)
    fake.inject("/signed/", truncate=3, times=1)
    source.read_range(found.layers[0], 0, 10)
    fake.expire_signatures()
    fake.expire_tokens()
    source.read_range(found.layers[0], 0, 10)
    fake.inject("/signed/", status=500)
    with pytest.raises(Exception) as caught:  # noqa: PT011 # what it says is what is looked at
        source.read_range(found.layers[0], 0, 10)
    seen = caplog.text + str(caught.value) + repr(caught.value)
    assert "/signed/" in caplog.text
    secrets = [SECRET, base64.b64encode(f"user:{SECRET}".encode()).decode(), "signature="]
    secrets += [*fake.tokens, *fake.signatures]
    secrets += [one.headers["authorization"].split()[1] for one in fake.log if "authorization" in one.headers]
    assert [secret for secret in secrets if secret in seen] == []


def test_a_netrc_is_not_used(fake: FakeRegistry, open_source: Open) -> None:
    (Path.home() / ".netrc").write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
    (Path.home() / ".netrc").chmod(0o600)
    fake.auth = Bearer(anonymous=True)
    open_source(image(fake)).resolve(None)
    assert all("Basic" not in one.headers.get("authorization", "") for one in fake.log)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("registry.example", "https://registry.example"),
        ("registry.example:5000", "https://registry.example:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("127.5.5.5", "http://127.5.5.5"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("localhost.evil.test", "https://localhost.evil.test"),
        ("127.0.0.1.evil.test", "https://127.0.0.1.evil.test"),
    ],
)
def test_plain_http_is_for_loopback(registry: str, expected: str) -> None:
    assert base_url(registry) == expected
