"""What the GitHub actions of both sides stand on: inputs, annotations, branches, the forge's API."""
