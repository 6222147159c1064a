"""How plans name an endpoint that serves a run's model, before its URL is known."""

from __future__ import annotations

from catalog.errors import Unreachable
from launcher.jobs import JobPlan

# What `Endpoint.served_by` begins with; behind it the endpoint's name, none for the run's own.
SCHEME = "lepton:"
KEY_NAME = "LEPTON_ENDPOINT_KEY"
# Beside the database: a file for each run that has an endpoint of its own.
MARKS = "endpoints"
_OWN = "deployment"
_HOST = "{name}.lepton.invalid"


class Waiting(Unreachable):
    """An endpoint that isn't ready yet: asked again with the next round."""


def placeholder(served_by: str) -> str:
    """A URL up to /v1 that stands for the endpoint's in a plan. No such host exists (RFC 2606)."""
    return f"https://{_HOST.format(name=served_by.removeprefix(SCHEME) or _OWN)}/v1"


def own(job: JobPlan) -> bool:
    """Whether the endpoint is made for the run."""
    return job.endpoint.served_by == SCHEME
