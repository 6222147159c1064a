"""Writing the referrers tag schema of the distribution-spec, for registries without the referrers API.

The tag holds an index that others write to as well, and registries offer no way to write only if nothing has
changed. So what stands there stays as it is, and some time after writing it is read again: whoever had read
the index before that has written it by then.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from typing import Any

from catalog.errors import Refused, Unreachable
from catalog.references import Digest
from generator.images.manifest import INDEX_TYPES, MAX_MANIFEST, OCI_INDEX, Index, load_object, parse
from generator.registry.body import Meter
from generator.registry.client import RegistryClient
from generator.registry.http import HttpError
from generator.registry.referrers import fallback_tag, read_list

_ATTEMPTS = 4
_SETTLED = (0.2, 0.4)  # seconds


def add_to_index(
    client: RegistryClient, repository: str, subject: Digest, entry: Mapping[str, Any], meter: Meter
) -> None:
    """Adds the descriptor `entry` to the index under `subject`'s fallback tag, unless it stands there.

    Raises Refused where the tag holds something else than an index, Unreachable when other writers are
    faster again and again.
    """
    tag = fallback_tag(subject)
    place = f"{client.registry}/{repository}:{tag}"
    path = f"/v2/{repository}/manifests/{tag}"
    for _ in range(_ATTEMPTS):
        index = _read(client, repository, path, place, meter)
        if any(one.get("digest") == entry["digest"] for one in index["manifests"]):
            return
        index["manifests"].append(dict(entry))
        data = json.dumps(index, separators=(",", ":")).encode()
        if len(data) > MAX_MANIFEST:
            raise Refused("the list of referrers would grow too large", place=place)
        _put(client, repository, path, data, meter)
        time.sleep(random.uniform(*_SETTLED))  # noqa: S311 # spreads writers, hides nothing
    written = _read(client, repository, path, place, meter)
    if not any(one.get("digest") == entry["digest"] for one in written["manifests"]):
        raise Unreachable(
            "other writers replaced the list of referrers each time", place=place, hint="try again"
        )


def _read(client: RegistryClient, repository: str, path: str, place: str, meter: Meter) -> dict[str, Any]:
    """The index as the JSON that it is, so that nothing in it is lost; a new one where there is none."""

    headers = {"Accept": ", ".join((*INDEX_TYPES, "*/*;q=0.1"))}
    try:
        raw, declared = client.fetch(
            "GET", path, repository, read_list, meter=meter, headers=headers, actions="pull,push"
        )
    except HttpError as error:
        if error.status == 404:
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        raise client.failure(error, repository, "list of referrers") from None
    if not isinstance(parse(raw, place, declared), Index):
        raise Refused(
            "the tag for referrers holds an image: it isn't overwritten",
            place=place,
            hint="remove the tag if nothing needs it, then try again",
        )
    return load_object(raw, place, "list of referrers", MAX_MANIFEST)


def _put(client: RegistryClient, repository: str, path: str, data: bytes, meter: Meter) -> None:
    try:
        client.fetch(
            "PUT",
            path,
            repository,
            lambda body: body.all(MAX_MANIFEST, "the answer"),
            meter=meter,
            headers={"Content-Type": OCI_INDEX},
            actions="pull,push",
            data=data,
        )
    except HttpError as error:
        raise client.failure(error, repository, "list of referrers") from None
