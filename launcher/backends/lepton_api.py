"""Lepton's API through its own client: plain data in and out, and this project's errors.

The only module that imports `leptonai`, on use. Its errors are never repeated as they are: some hold parts of
the token.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from catalog.errors import EvaldockError, NotFound, Refused, Unreachable, UsageError
from catalog.nearest import did_you_mean
from launcher.backends import lepton_errors, lepton_stream
from launcher.backends.lepton_login import HINT, Login, login
from launcher.backends.lepton_stream import Bounds
from launcher.backends.protocol import NotSent

PAGE = 500
_NAMED = re.compile(r"/workspaces/([^/]+)/?$")
_MODES = {"job_query_mode": "alive_and_archive"}


class Lepton:
    """A workspace. Methods raise Unreachable where a later try may do better, Refused and NotFound where none
    will."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def name(self) -> str:
        """By its address, which is what counts; some have no name in it."""
        found = _NAMED.search(self._client.url)
        return found[1] if found else str(self._client.workspace_id)

    def expect(self, workspace: str, what: str) -> None:
        """Raises NotSent where `what` is in another workspace than this one, which knows nothing of it: that
        doesn't mean that it is gone. Of what was noted by nobody, `workspace` is empty."""
        if workspace and workspace != self.name:
            raise NotSent(
                f"{what} is in Lepton's workspace {workspace}, and the environment leads to {self.name}: "
                f"export LEPTON_WORKSPACE_ID={workspace}, with its LEPTON_WORKSPACE_TOKEN and "
                "LEPTON_WORKSPACE_URL"
            )

    def create_job(self, body: Mapping[str, Any]) -> str:
        """Its id. Raises NameTaken where there is a job of this name."""
        from leptonai.api.v2.types.job import LeptonJob  # noqa: PLC0415

        with _errors("the job"):
            return str(self._client.job.create(LeptonJob(**body)).metadata.id_)

    def jobs(self, name: str) -> list[dict[str, Any]]:
        """Jobs whose names contain `name`, ended ones too."""
        found: list[dict[str, Any]] = []
        page = 1
        with _errors("the list of jobs"):
            while True:
                given = self._client.job.list_all(q=name, page=page, page_size=PAGE, **_MODES)
                found += [_data(job) for job in given]
                if len(given) < PAGE:
                    return found
                page += 1

    def job(self, identity: str) -> dict[str, Any] | None:
        try:
            with _errors(identity):
                return _data(self._client.job.get(identity, **_MODES))
        except NotFound:
            return None

    def stop_job(self, identity: str) -> None:
        """What is gone already is fine."""
        with _errors(identity, gone=True):
            self._client.job.update(identity, {"spec": {"stopped": True}})

    def delete_job(self, identity: str) -> None:
        with _errors(identity, gone=True):
            self._client.job.delete(identity, **_MODES)

    def job_events(self, identity: str) -> list[str]:
        """Reasons of what Kubernetes noted, the latest last."""
        with _errors(identity):
            events = sorted(self._client.job.get_events(identity), key=lambda event: event.last_observed_time)
            return [str(event.reason) for event in events]

    def replicas(self, identity: str) -> list[str]:
        with _errors(identity, gone=True):
            return sorted(str(r.metadata.id_ or r.id_) for r in self._client.job.get_replicas(identity))
        return []

    def log(self, identity: str, replica: str, bounds: Bounds | None = None) -> tuple[bytes, bool]:
        """What a replica has printed, and whether that is all. Bytes as they are: the client's own method
        can't read a log that stops within a character."""
        return self._log(f"/jobs/{identity}", replica, bounds or Bounds.of())

    def endpoint_log(self, name: str) -> bytes:
        """What the endpoint's replicas have printed so far; nothing where it has none."""
        routes = self._routes()
        kind = "endpoints" if self._client.new_deployment_api_enabled else "deployments"
        try:
            with _errors(f"the replicas of {name}"):
                found = [str(r.metadata.id_ or r.id_) for r in routes.get_replicas(name)]
            return b"".join(self._log(f"/{kind}/{name}", each, Bounds.of())[0] for each in sorted(found))
        except NotFound:
            return b""

    def _log(self, path: str, replica: str, bounds: Bounds) -> tuple[bytes, bool]:
        import requests  # noqa: PLC0415

        with _errors(f"the log of {replica}"):
            try:
                response = self._client._get(f"{path}/replicas/{replica}/log", stream=True)
            except requests.ReadTimeout:
                # It may be told of with its first byte.
                return b"", False
            with response:
                self._client.job._raise_if_not_ok(response)
                return lepton_stream.read(response, bounds)

    def secrets(self) -> set[str]:
        with _errors("the workspace's secrets"):
            return {str(secret.name) for secret in self._client.secret.list_all()}

    def create_secret(self, name: str, value: str) -> None:
        from leptonai.api.v2.types.secret import SecretItem  # noqa: PLC0415

        with _errors(f"the secret {name}"):
            self._client.secret.create([SecretItem(name=name, value=value)])

    def delete_secret(self, name: str) -> None:
        with _errors(f"the secret {name}", gone=True):
            self._client.secret.delete(name)

    def shapes(self, groups: Mapping[str, str], purpose: str) -> list[str]:
        """What any of these node groups (ids by what they are called) has for a job or a deployment; without
        any, what there is."""
        ask = self._client.shapes.list_shapes
        with _errors("the resource shapes"):
            if not groups:
                found = ask(purpose=purpose)
            else:
                # Some know a group by its id, others by its name.
                found = [
                    shape
                    for name, identity in groups.items()
                    for shape in ask(identity, purpose) or ask(name, purpose)
                ]
            return sorted({str(s.spec.name or s.metadata.name or s.metadata.id_) for s in found})

    def node_groups(self) -> dict[str, str]:
        """Their ids by both that they are called: name and id."""
        with _errors("the node groups"):
            groups = [group.metadata for group in self._client.nodegroup.list_all()]
        ids = {str(group.id_): str(group.id_) for group in groups if group.id_}
        return {**ids, **{str(group.name): str(group.id_ or group.name) for group in groups if group.name}}

    def group_ids(self, groups: Sequence[str]) -> list[str]:
        """People name groups, and specifications hold their ids. Raises Refused for one that isn't there."""
        known = self.node_groups() if groups else {}
        if strange := [group for group in groups if group not in known]:
            raise Refused(
                f"the workspace has no node group {strange[0]!r}{did_you_mean(strange[0], sorted(known))}",
                hint="execution.node_group or execution.endpoint.node_group; `lep node list` shows them",
            )
        return [known[group] for group in groups]

    def workspace(self) -> dict[str, Any]:
        with _errors("the workspace"):
            return _data(self._client.info())

    def endpoint(self, name: str) -> dict[str, Any] | None:
        routes = self._routes()
        try:
            with _errors(f"the endpoint {name}"):
                return _data(routes.get(name))
        except NotFound:
            return None

    def create_endpoint(self, body: Mapping[str, Any]) -> None:
        """Raises NameTaken where there is one of this name."""
        from leptonai.api.v2.types.deployment import LeptonDeployment  # noqa: PLC0415

        routes = self._routes()
        with _errors("the endpoint"):
            routes.create_with_response(LeptonDeployment(**body), tolerate_legacy_response=True)

    def delete_endpoint(self, name: str) -> None:
        routes = self._routes()
        with _errors(f"the endpoint {name}", gone=True):
            routes.delete(name)

    def _routes(self) -> Any:
        """Those for endpoints that the workspace has: there are two kinds. Where the client can't ask it, it
        takes the old ones for as long as this process lives, and there everything seems to be gone."""
        from leptonai.api.v2.client import reset_new_deployment_api_flag_cache  # noqa: PLC0415

        try:
            with _errors("the workspace"):
                self._client.deployment_feature_snapshot()
        except EvaldockError as error:
            reset_new_deployment_api_flag_cache(self._client.url)
            kind = NotSent if isinstance(error, NotSent) else Unreachable
            raise kind(
                f"nobody says what kind of endpoints {self.name} has: {error.message}", hint=error.hint
            ) from None
        return self._client.deployment


@contextmanager
def connected(settings: Mapping[str, Any]) -> Iterator[Lepton]:
    """The workspace that `execution` and the environment name. Raises NotSent where none is, or no token."""
    asked = login(settings)
    with _quiet():
        yield Lepton(_client(asked, float(settings.get("request_timeout", 30.0))))


@cache
def _client(asked: Login, timeout: float) -> Any:
    try:
        from leptonai.api.v2.client import APIClient  # noqa: PLC0415
        from leptonai.api.v2.workspace_record import WorkspaceRecord  # noqa: PLC0415
    except ImportError:
        raise UsageError("the lepton backend needs an extra", hint="pip install 'evaldock[lepton]'") from None
    record = WorkspaceRecord.get(asked.workspace) if asked.workspace else WorkspaceRecord.current()
    if not (asked.workspace or record):
        raise NotSent("no workspace for Lepton is known", hint=HINT)
    if not (asked.token or (record and record.auth_token)):
        raise NotSent(f"no token for Lepton's workspace {asked.workspace or record.id_} is known", hint=HINT)
    client = APIClient(asked.workspace or None, asked.token or None, asked.url or None)
    client._timeout = timeout
    return client


@contextmanager
def _quiet() -> Iterator[None]:
    """The client uses what pydantic has deprecated; its users can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Pp]ydantic", category=DeprecationWarning)
        warnings.filterwarnings(
            "ignore", message="The `dict` method is deprecated", category=DeprecationWarning
        )
        yield


@contextmanager
def _errors(what: str, *, gone: bool = False) -> Iterator[None]:
    """The client's errors as ours. With `gone`, what isn't there is no error."""
    import requests  # noqa: PLC0415
    from leptonai.api.v2.api_resource import ClientError, ServerError  # noqa: PLC0415
    from leptonai.api.v2.utils import (  # noqa: PLC0415
        WorkspaceForbiddenError,
        WorkspaceNotFoundError,
        WorkspaceUnauthorizedError,
    )
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        yield
    except (ClientError, ServerError) as error:
        status, said = error.response.status_code, lepton_errors.said(error.response)
        if status == 404 and gone:
            return
        raise lepton_errors.answered(status, what, said) from None
    except WorkspaceUnauthorizedError:
        raise lepton_errors.answered(401, what, "") from None
    except WorkspaceForbiddenError:
        raise lepton_errors.answered(403, what, "") from None
    except WorkspaceNotFoundError:
        raise lepton_errors.answered(404, what, "") from None
    except requests.exceptions.ConnectionError as error:
        # Not even a connection: nobody has heard of it.
        never = any(word in str(error) for word in ("NewConnectionError", "NameResolutionError"))
        kind = NotSent if never else Unreachable
        raise kind(
            f"Lepton can't be reached: {lepton_errors.host(error)}", hint="is LEPTON_WORKSPACE_URL right?"
        ) from None
    except requests.RequestException as error:
        raise Unreachable(f"Lepton did not answer for {what}: {type(error).__name__}") from None
    except (ValidationError, ValueError) as error:
        raise Refused(f"Lepton's client refuses {what}: {lepton_errors.first(error)}") from None
    except RuntimeError:
        raise Unreachable(f"Lepton's answer for {what} makes no sense") from None


def _data(model: Any) -> dict[str, Any]:
    made: dict[str, Any] = model.model_dump(mode="json", by_alias=True)
    return made
