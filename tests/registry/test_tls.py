"""Registries over https: certificates, and credentials between hosts with names."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refused, Unreachable
from generator.registry.source import RegistrySource
from logged_in import SECRET, login
from services.fake_registry import Bearer, FakeRegistry
from services.install import need
from services.required import Unavailable, unavailable
from services.shared import Shared

Open = Callable[[str], RegistrySource]
NAMES = ("registry.example", "storage.example", "auth.example")


@pytest.fixture(scope="module")
def certificate(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for all names, which is its own authority, and its key."""
    try:
        openssl = need(shared, "openssl", packages=["openssl"])
    except Unavailable as error:
        unavailable(str(error))
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ",".join(f"DNS:{name}" for name in NAMES)
    command = [
        str(openssl),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
    ]
    command += ["-addext", f"subjectAltName={names}", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    """The names lead here, as they would by /etc/hosts."""
    resolve = socket.getaddrinfo

    def here(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host in NAMES else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with FakeRegistry(name=NAMES[0], other=NAMES[1], tls=context) as registry:
        registry.add_image("a/b", [registry.add_blob("a/b", b"layer")], tag="1")
        yield registry


def read(tls: FakeRegistry, open_source: Open) -> bytes:
    source = open_source(tls.reference("a/b", tag="1"))
    return source.read_range(source.resolve(None).layers[0], 0, 100)


def test_reads_over_https(tls: FakeRegistry, open_source: Open) -> None:
    assert read(tls, open_source) == b"layer"


def test_an_unknown_authority(tls: FakeRegistry, open_source: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(Unreachable) as caught:
        read(tls, open_source)
    assert "registry.example can't be reached: its certificate can't be verified" in str(caught.value)
    assert not tls.log


def test_a_realm_on_another_host_gets_its_registrys_credentials(
    tls: FakeRegistry, open_source: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """As Docker Hub does it: the registry names a realm elsewhere, over https."""
    caplog.set_level(logging.DEBUG)
    login(tls.host)
    port = tls.host.partition(":")[2]
    tls.auth = Bearer("user", SECRET, realm=f"https://auth.example:{port}/jwt/auth")
    tls.redirect_blobs = True
    assert read(tls, open_source) == b"layer"
    basic = [(one.host, one.path) for one in tls.log if "Basic" in one.headers.get("authorization", "")]
    assert basic == [(f"auth.example:{port}", "/jwt/auth")]
    tokens = {one.host for one in tls.log if "Bearer" in one.headers.get("authorization", "")}
    assert tokens == {tls.host}
    assert SECRET not in caplog.text


@pytest.mark.parametrize("realm", ["http://auth.example/token", "http://127.0.0.1:{port}/jwt/auth"])
def test_a_realm_in_plain_http_is_refused(tls: FakeRegistry, open_source: Open, realm: str) -> None:
    login(tls.host)
    tls.auth = Bearer("user", SECRET, realm=realm.replace("{port}", tls.host.partition(":")[2]))
    with pytest.raises(Refused, match=f"sends for a token to {realm[:15]}.*, which is not https"):
        read(tls, open_source)
    assert len(tls.log) == 1


@pytest.mark.parametrize(
    "location", ["http://storage.example/x", "http://127.0.0.1:1/x", "http://localhost/x"]
)
def test_no_way_from_https_to_plain_http(tls: FakeRegistry, open_source: Open, location: str) -> None:
    source = open_source(tls.reference("a/b", tag="1"))
    layer = source.resolve(None).layers[0]
    tls.inject("/blobs/", status=307, headers={"Location": location})
    with pytest.raises(Refused, match=f"redirects to {location}, which is not https"):
        source.read_range(layer, 0, 10)


def test_a_redirect_address_with_a_password_in_it(tls: FakeRegistry, open_source: Open) -> None:
    """Neither is it sent as credentials, nor shown."""
    source = open_source(tls.reference("a/b", tag="1"))
    layer = source.resolve(None).layers[0]
    location = f"https://user:{SECRET}@{tls.other}/signed/{layer.digest}"
    tls.inject("/blobs/", status=307, headers={"Location": location})
    with pytest.raises(Refused) as caught:
        source.read_range(layer, 0, 10)
    assert SECRET not in str(caught.value)
    assert all("authorization" not in one.headers for one in tls.log)
