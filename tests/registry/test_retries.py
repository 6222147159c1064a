"""What HTTP does wrong: what is tried again, how long, and how it is told."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from catalog.errors import Refused, Unreachable
from catalog.references import ImageRef
from generator.registry.client import Network
from generator.registry.http import Policy
from generator.registry.source import RegistrySource
from services.fake_registry import Bearer, FakeRegistry
from services.processes import free_port

Open = Callable[[str], RegistrySource]


@pytest.fixture
def source(fake: FakeRegistry, open_source: Open) -> RegistrySource:
    fake.add_image("a/b", [fake.add_blob("a/b", bytes(range(256)) * 40)], tag="1")
    return open_source(fake.reference("a/b", tag="1"))


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 500},
        {"status": 502},
        {"status": 503, "headers": {"Retry-After": "nonsense"}},
        {"status": 503, "headers": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}},
        {"status": 504},
        {"drop": True},
        {"truncate": 0},
        {"truncate": 100},
    ],
    ids=str,
)
def test_passing_faults(fake: FakeRegistry, source: RegistrySource, fault: dict[str, Any]) -> None:
    fake.inject("/manifests/", times=3, **fault)
    fake.inject("/blobs/", times=2, **fault)
    image = source.resolve(None)
    assert source.read_range(image.layers[0], 0, 10_240) == bytes(range(256)) * 40
    assert len(fake.log) == 3 + 2 + 3
    assert source.cost.requests == len(fake.log)


def test_a_token_request_is_tried_again(fake: FakeRegistry, source: RegistrySource) -> None:
    fake.auth = Bearer(anonymous=True)
    fake.inject("/jwt/auth", status=503, times=2)
    source.resolve(None)
    assert fake.count("/jwt/auth") == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 503}, "the registry fails with 503 for tag '1'\n  try again later"),
        (
            {
                "status": 429,
                "body": b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow\\u001b[2J down"}]}',
            },
            "too many requests for tag '1' (TOOMANYREQUESTS slow [2J down)\n"
            "  log in to raise the limit, or try again later",
        ),
        ({"status": 501}, "the registry fails with 501 for tag '1'\n  try again later"),
    ],
    ids=str,
)
def test_lasting_faults(
    fake: FakeRegistry, source: RegistrySource, fault: dict[str, Any], message: str
) -> None:
    fake.inject("/manifests/", **fault)
    with pytest.raises(Unreachable) as caught:
        source.resolve(None)
    assert str(caught.value) == f"{fake.host}/a/b: {message}"
    assert len(fake.log) == (1 if fault["status"] == 501 else 4)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"drop": True}, "the connection was lost"),
        ({"truncate": 7}, "the connection was lost"),
        ({"pause": 6.0, "piece": 10}, "no answer within 2 seconds"),
    ],
    ids=str,
)
def test_a_connection_that_is_lost_for_good(
    fake: FakeRegistry, source: RegistrySource, fault: dict[str, Any], reason: str
) -> None:
    fake.inject("/manifests/", **fault)
    network = Network(Policy(attempts=2, first_pause=0.01, read=2.0))
    with pytest.raises(Unreachable) as caught:
        RegistrySource(source.ref, network).resolve(None)
    network.close()
    assert str(caught.value) == (
        f"http://{fake.host}/v2/a/b/manifests/1: 127.0.0.1 can't be reached: {reason}\n"
        "  check the host's name and the network, then try again"
    )
    assert len(fake.log) == 2


def test_nobody_listens(network: Network) -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 can't be reached: connection refused"):
        RegistrySource(ImageRef.parse(f"127.0.0.1:{free_port()}/a:1"), network).resolve(None)


def test_no_such_host(network: Network) -> None:
    with pytest.raises(Unreachable, match="can't be reached: its name can't be resolved"):
        RegistrySource(ImageRef.parse("registry.invalid/a:1"), network).resolve(None)


def test_a_server_without_tls(network: Network, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _everything_here(int(fake.host.partition(":")[2])))
    with pytest.raises(Unreachable, match="it doesn't speak TLS, or not as it should"):
        RegistrySource(ImageRef.parse("registry.example/a:1"), network).resolve(None)
    assert not fake.log


def _everything_here(port: int) -> Callable[..., Any]:
    def answer(*_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    return answer


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_too_long_a_wait_is_not_waited_for(fake: FakeRegistry, source: RegistrySource, form: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=2))
    headers = {"Retry-After": "3600" if form == "seconds" else date}
    fake.inject("/manifests/", status=429, headers=headers)
    with pytest.raises(Unreachable, match=r"asks to come back in \d{4} seconds \(429\)"):
        source.resolve(None)
    assert len(fake.log) == 1


def test_the_host_that_asks_for_silence_gets_it(fake: FakeRegistry, source: RegistrySource) -> None:
    """One refusal holds the other threads back too, instead of each collecting its own."""
    image = source.resolve(None)
    fake.reset()
    fake.inject("/blobs/", status=429, headers={"Retry-After": "2"}, times=1)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(source.read_range, image.layers[0], 0, 1)
        while not fake.count("/blobs/"):
            time.sleep(0.01)
        fake.inject("/blobs/", status=429)  # what whoever doesn't wait gets
        time.sleep(0.1)
        others = [pool.submit(source.read_range, image.layers[0], n, 1) for n in range(8)]
        time.sleep(0.3)
        fake.faults.clear()
        assert [one.result() for one in others] == [bytes([n]) for n in range(8)]
        assert first.result() == b"\0"
    assert fake.count("/blobs/") == 1 + 1 + 8


def test_at_most_so_many_at_once(fake: FakeRegistry) -> None:
    network = Network(Policy(per_host=2, attempts=1))
    fake.add_image("a/b", [fake.add_blob("a/b", b"x" * 1000)], tag="1")
    source = RegistrySource(ImageRef.parse(fake.reference("a/b", tag="1")), network)
    image = source.resolve(None)
    fake.latency = 0.03
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: source.read_range(image.layers[0], n, 1), range(12)))
    network.close()
    assert fake.most_at_once == 2


def test_a_trickle_is_given_up(fake: FakeRegistry, source: RegistrySource) -> None:
    network = Network(Policy(patience=1.0, slowest=1e6))
    impatient = RegistrySource(source.ref, network)
    image = impatient.resolve(None)
    fake.inject("/blobs/", pause=0.05, piece=16)
    with pytest.raises(
        Unreachable, match=r"the server sends too slowly: [0-9]+ bytes in [0-9]+ seconds"
    ) as caught:
        impatient.read_range(image.layers[0], 0, 10_240)
    network.close()
    assert caught.value.hint == "try again later, or over another connection"
    assert fake.sent(str(image.layers[0].digest)) < 10_240


def test_a_slow_body_is_read(fake: FakeRegistry, source: RegistrySource) -> None:
    image = source.resolve(None)
    fake.inject("/blobs/", pause=0.001, piece=1024)
    assert len(source.read_range(image.layers[0], 0, 10_240)) == 10_240


def test_an_endless_manifest_is_cut_off(fake: FakeRegistry, open_source: Open) -> None:
    fake.add_manifest("a/b", b" " * (5 * 1024 * 1024), tag="1")
    with pytest.raises(Refused, match="the manifest has 5242880 bytes; at most 4194304 are read"):
        open_source(fake.reference("a/b", tag="1")).resolve(None)
    fake.inject(chunked=True)
    with pytest.raises(Refused, match="the manifest has more than 4194304 bytes"):
        open_source(fake.reference("a/b", tag="1")).resolve(None)


def test_compression_in_transit_is_refused(fake: FakeRegistry, source: RegistrySource) -> None:
    fake.inject("/manifests/", status=200, headers={"Content-Encoding": "gzip"}, body=b"x")
    with pytest.raises(Refused, match="compresses what was asked for as it is"):
        source.resolve(None)
    assert fake.log[0].headers["accept-encoding"] == "identity"


def test_one_connection_serves_many_requests(fake: FakeRegistry, source: RegistrySource) -> None:
    image = source.resolve(None)
    for start in range(0, 5000, 100):
        source.read_range(image.layers[0], start, 100)
    fake.inject("/blobs/", status=404)
    assert source.head() == image.digest
    assert fake.connections == 1


def test_cookies_are_not_sent_back(fake: FakeRegistry, source: RegistrySource) -> None:
    fake.inject("/manifests/", status=503, headers={"Set-Cookie": "session=1"}, times=1)
    source.resolve(None)
    assert all("cookie" not in one.headers for one in fake.log)


def test_proxies_are_not_for_loopback(source: RegistrySource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert source.resolve(None).platform == "linux/amd64"


def test_bytes_are_counted_as_the_server_counts_them(
    fake: FakeRegistry, source: RegistrySource, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    image = source.resolve(None)
    fake.inject("/blobs/", status=503, times=1)
    source.read_range(image.layers[0], 0, 100)
    source.head()
    assert (source.cost.requests, source.cost.bytes) == (len(fake.log), fake.sent())
    assert "it answered 503; again in" in caplog.text
