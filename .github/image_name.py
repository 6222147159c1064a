"""For images.yml: folder, image and version, from the workflow's inputs or its tag `harness-NAME-VERSION`."""

import os
import re
import sys

NAMES = ("quickcheck", "mmath", "bfcl")


def main() -> None:
    name, version = os.environ.get("HARNESS", ""), os.environ.get("VERSION", "")
    if os.environ.get("GITHUB_REF_TYPE") == "tag" and not name:
        match = re.fullmatch(r"harness-([a-z]+)-(.+)", os.environ["GITHUB_REF_NAME"])
        name, version = match.groups() if match else ("", "")
    # As the OCI distribution specification writes tags.
    if name not in NAMES or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", version):
        sys.exit(f"::error::expected one of {', '.join(NAMES)} and a version")
    print(f"folder=catalog/harnesses/{name}")
    print(f"image=ghcr.io/{os.environ['OWNER'].lower()}/{name}")
    print(f"version={version}")


main()
