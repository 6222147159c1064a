"""Whether the models that a configuration asks can be reached from here. No key is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.errors import EvaldockError
from catalog.nearest import did_you_mean
from launcher.checks.answers import Check, fail, failed, ok, warn

TIMEOUT = 5.0


def checks(
    endpoints: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], *, here: bool
) -> Iterator[Check]:
    """`endpoints` are `api_endpoint` mappings. `here`: jobs ask from this machine, so that what it can't
    reach, they can't."""
    for api in endpoints:
        if api.get("url"):
            yield _url(str(api["url"]), api, here)
        elif api.get("deployment_name"):
            yield _endpoint(str(api["deployment_name"]), settings)


def _url(url: str, api: Mapping[str, Any], here: bool) -> Check:
    import requests  # noqa: PLC0415

    base = url.rstrip("/").partition("/v1")[0] + "/v1/models"
    try:
        answer = requests.get(base, timeout=TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        said = f"{url} does not answer from here ({type(error).__name__})"
        if here:
            return fail("model", said, "is target.api_endpoint.url right, and is the server up?")
        return warn("model", said, "jobs run elsewhere, and may reach it all the same")
    status = answer.status_code
    if status >= 500:
        return warn("model", f"{url} answers {status}", "is its server ready?")
    if status in (401, 403):
        if api.get("api_key_name"):
            return ok("model", f"{url} answers, and asks for a key")
        return warn("model", f"{url} asks for a key ({status})", "name its variable: api_key_name")
    if status != 200 or "html" in answer.headers.get("Content-Type", ""):
        what = "with a web page" if status == 200 else str(status)
        remedy = "does target.api_endpoint.url lead to an OpenAI-compatible API, up to /v1?"
        return warn("model", f"{base} answers {what}", remedy)
    return _listed(url, str(api.get("model_id") or ""), answer)


def _listed(url: str, model: str, answer: Any) -> Check:
    """Whether the server lists the model; a list of another shape says nothing."""
    try:
        names = [str(each["id"]) for each in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        names = []
    if model and names and model not in names:
        near = did_you_mean(model, names) or f"; there are {', '.join(names[:5])}"
        return warn("model", f"{url} lists no {model!r}{near}", "is target.api_endpoint.model_id right?")
    return ok("model", f"{url} answers")


def _endpoint(name: str, settings: Mapping[str, Any]) -> Check:
    # For endpoints of Lepton alone.
    from launcher import lepton_endpoints  # noqa: PLC0415
    from launcher.backends import lepton_api  # noqa: PLC0415

    try:
        with lepton_api.connected(settings) as lepton:
            found = lepton.endpoint(name)
    except EvaldockError as error:
        return failed("model", error)
    if found is None:
        return fail("model", f"the workspace has no endpoint {name!r}", "`lep endpoint list` shows them")
    state = lepton_endpoints.state_of(found)
    if state in lepton_endpoints.USELESS:
        said = f"the endpoint {name} is of no use: Lepton says {state}"
        return fail("model", said, f"`lep endpoint status -n {name}`")
    if state != "Ready":
        return warn(
            "model", f"the endpoint {name} is not ready (Lepton says {state})", "jobs wait until it is"
        )
    return ok("model", f"the endpoint {name} is ready")
