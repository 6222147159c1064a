"""What refers to an image: the OCI 1.1 referrers API, or the tag that stands in for it."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from catalog.errors import Refused
from catalog.references import Digest
from generator.images.manifest import INDEX_TYPES, MAX_MANIFEST, OCI_INDEX, Index, parse
from generator.images.source import Descriptor
from generator.registry.body import Body, Meter
from generator.registry.client import RegistryClient
from generator.registry.http import HttpError
from generator.registry.urls import joined, origin

_MAX_PAGES = 10
_NEXT = re.compile(r'<([^<>]{1,2000})>\s*;\s*rel="?next"?')


def fallback_tag(subject: Digest) -> str:
    """distribution-spec, "Referrers Tag Schema": the algorithm, a dash, at most 64 characters of the hex."""
    return f"{subject.algorithm}-{subject.hex[:64]}"


def list_referrers(
    client: RegistryClient, repository: str, subject: Digest, artifact_type: str, meter: Meter
) -> tuple[Descriptor, ...]:
    """Those of `artifact_type`. One request where the registry has the API; that it hasn't is remembered, so
    that for the next image only the tag is asked for."""
    found = None
    if client.has_referrers is not False:
        found = _from_api(client, repository, subject, artifact_type, meter)
    if found is None:
        index = fallback_index(client, repository, subject, meter)
        found = [index] if index else []
    # Whether or not the registry filters, which it needn't.
    return tuple(
        entry.descriptor for page in found for entry in page.entries if entry.artifact_type == artifact_type
    )


def fallback_index(
    client: RegistryClient, repository: str, subject: Digest, meter: Meter, actions: str = "pull"
) -> Index | None:
    """The index under the fallback tag, None where there is none. Raises Unreachable."""
    path = f"/v2/{repository}/manifests/{fallback_tag(subject)}"
    try:
        raw, declared = client.fetch(
            "GET",
            path,
            repository,
            read_list,
            meter=meter,
            headers={"Accept": ", ".join(INDEX_TYPES)},
            actions=actions,
        )
    except HttpError as error:
        _raise_if_passing(client, error, repository)
        return None
    return _index(raw, declared, f"{client.registry}/{repository}")


def _from_api(
    client: RegistryClient, repository: str, subject: Digest, artifact_type: str, meter: Meter
) -> list[Index] | None:
    """The pages of the answer, None where the registry hasn't the API."""
    query = urlencode({"artifactType": artifact_type})
    path = f"/v2/{repository}/referrers/{subject}?{query}"
    pages: list[Index] = []
    while path and len(pages) < _MAX_PAGES:
        link: list[str] = []

        def read(body: Body, link: list[str] = link) -> tuple[bytes, str]:
            link.extend(_next(body))
            return read_list(body)

        try:
            raw, declared = client.fetch(
                "GET", path, repository, read, meter=meter, headers={"Accept": OCI_INDEX}
            )
        except HttpError as error:
            _raise_if_passing(client, error, repository)
            if error.status == 404:
                client.has_referrers = False
            return None
        page = _index(raw, declared, f"{client.registry}/{repository}")
        if page is None:  # a web page, say: some answer 200 to every path
            return None
        client.has_referrers = True
        pages.append(page)
        path = link[0] if link and origin(link[0]) == origin(client.base) else ""
    return pages


def _next(body: Body) -> list[str]:
    found = _NEXT.search(body.headers.get("Link", ""))
    return [joined(body.url, found[1])] if found else []


def read_list(body: Body) -> tuple[bytes, str]:
    """The list and its media type."""
    return body.all(MAX_MANIFEST, "the list of referrers"), body.headers.get("Content-Type", "")


def _index(raw: bytes, declared: str, place: str) -> Index | None:
    try:
        found = parse(raw, place, declared)
    except Refused:
        return None
    return found if isinstance(found, Index) else None


def _raise_if_passing(client: RegistryClient, error: HttpError, repository: str) -> None:
    if error.status == 429 or (error.status >= 500 and error.status != 501):
        raise client.failure(error, repository, "list of referrers")
