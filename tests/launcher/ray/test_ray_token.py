"""A cluster that asks for a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from launched import RESULTS, Place, ended, status
from launcher.backends.protocol import NotSent
from launcher.jobs import RunPlan, State
from ray_place import place_on
from services.fixtures import RAY_TOKEN
from services.ray_head import RayHead


@pytest.fixture
def place(ray_head_with_token: RayHead, tmp_path: Path) -> Place:
    return place_on(ray_head_with_token, tmp_path / "shared")


@pytest.fixture
def run(place: Place, tmp_path: Path) -> RunPlan:
    return place.run(tmp_path, RESULTS)


def test_without_a_token_and_with_a_wrong_one(
    place: Place, run: RunPlan, monkeypatch: pytest.MonkeyPatch, own_environment: Path
) -> None:
    url = run.settings["dashboard_url"]
    with pytest.raises(NotSent) as caught:
        place.submit(run)
    assert str(caught.value) == (
        f"Ray at {url} wants a token (401), and none was found\n"
        "  export RAY_AUTH_TOKEN, name a file in RAY_AUTH_TOKEN_PATH, or write ~/.ray/auth_token"
    )
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-wrong-token")
    with pytest.raises(NotSent) as caught:
        place.submit(run)
    assert str(caught.value) == (
        f"Ray at {url} does not accept the token that was sent (403)\n"
        "  is RAY_AUTH_TOKEN the token of this cluster?"
    )
    assert "a-wrong-token" not in str(caught.value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", RAY_TOKEN)
    handle = place.submit(run)
    assert ended(place, handle).state is State.SUCCEEDED
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    answer = status(place, handle)
    # Without Ray, by its own word.
    assert (answer.state, answer.native) == (State.SUCCEEDED, "unreachable")
    (own_environment / ".ray").mkdir()
    (own_environment / ".ray" / "auth_token").write_text(f"{RAY_TOKEN}\n")
    assert status(place, handle).state is State.SUCCEEDED
    place.collect(run, handle)
    assert not [path for path in Path(run.directory).rglob("*") if path.is_file() and _holds(path)]


def test_a_token_of_the_user_s_own_variable(
    ray_head_with_token: RayHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_on(ray_head_with_token, tmp_path / "shared", token_name="CLUSTER_TOKEN")
    run = place.run(tmp_path, RESULTS)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another-cluster's")
    assert status(place, place_handle := _unsent(place, run)).state is State.UNKNOWN
    monkeypatch.setenv("CLUSTER_TOKEN", RAY_TOKEN)
    assert status(place, place_handle).state is State.LOST


def _unsent(place: Place, run: RunPlan):  # type: ignore[no-untyped-def]
    from launcher.jobs import JobHandle  # noqa: PLC0415

    job = run.jobs[0]
    return JobHandle(
        key=job.key, backend="ray", native_id="", directory=run.folder(job), settings=place.settings
    )


def _holds(path: Path) -> bool:
    return RAY_TOKEN.encode() in path.read_bytes()
