"""Every test runs in an environment of its own; services come from `tests/services`."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from services.processes import tail

pytest_plugins = ["services.fixtures", "services.browser", "services.github_packages"]

# A busy machine is no failure.
settings.register_profile("evaldock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("evaldock")

# Whoever starts the tests in the background may have them ignored, and all that is started here would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# What a user's shell or a CI job may set and a command of ours would obey.
_OBEYED = (
    "CLICOLOR_FORCE",
    "COLUMNS",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "EVALDOCK_ARTIFACTS",
    "EVALDOCK_BOUND_KEYS",
    "EVALDOCK_ENV_FILE",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "NO_COLOR",
    "REGISTRY_AUTH_FILE",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home with its own cache, so that no test reads or writes the files of who runs it.

    git gets a name to commit under and none of the machine's settings.
    """
    home = tmp_path_factory.mktemp("home")
    for name in [*_OBEYED, *(n for n in os.environ if n.startswith("EVALDOCK_CACHE"))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("EVALDOCK_CACHE", str(home / "evaldock-cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.invalid")
    return home


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what the test's jobs said: their folders are gone when somebody reads of it."""
    report = yield
    folder: Path | None = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and folder:
        found = {*folder.rglob("exit.json"), *folder.rglob("logs/*.log")}
        logs = [log for log in sorted(found) if log.is_file()][:8]
        report.sections += [(str(log.relative_to(folder)), tail(log)) for log in logs]
    return report


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes don't become names of tests: an archive made while collecting holds the time, and the workers of
    xdist must agree on every name."""
    return argname if isinstance(val, bytes) and len(val) > 20 else None
