"""Logs of a job's replicas: one as it is, several as whole lines with the replica's number before each."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from catalog.errors import NotFound, Refused, Unreachable
from launcher.backends.lepton_api import Lepton
from launcher.backends.lepton_stream import BYTES, Bounds
from launcher.jobs import JobHandle, LogChunk
from launcher.node.result_stream import Received
from launcher.node.result_stream import receive as received

# Seconds for the log of a job that has ended, which has an end itself.
COLLECTING = 300.0


@dataclass(slots=True)
class _Merged:
    """Lines of several replicas in the order in which this process has seen them; cursors count in `data`."""

    data: bytearray = field(default_factory=bytearray)
    taken: dict[str, int] = field(default_factory=dict)


_MERGED: dict[tuple[str, int], _Merged] = {}


def read(lepton: Lepton, handle: JobHandle, native: str, since: int) -> LogChunk:
    replicas = lepton.replicas(native)
    if len(replicas) == 1:
        log = received(_log(lepton, native, replicas[0], Bounds.of())[0]).log
        return LogChunk(log[since:], max(since, len(log)))
    merged = _MERGED.setdefault((handle.key, handle.attempt), _Merged())
    for number, replica in enumerate(replicas):
        output, whole = _log(lepton, native, replica, Bounds.of())
        log = received(output).log
        end = len(log) if whole else log.rfind(b"\n") + 1
        for line in log[merged.taken.get(replica, 0) : end].splitlines():
            merged.data += b"[%d] %s\n" % (number, line)
        merged.taken[replica] = max(end, merged.taken.get(replica, 0))
    return LogChunk(bytes(merged.data[since:]), max(since, len(merged.data)))


def receive(lepton: Lepton, handle: JobHandle, native: str) -> Received | None:
    """What an ended job left in its log; None where it has none, or none that is given out. Raises
    Unreachable for a log that was cut on its way."""
    best = None
    # Its results take a third more in base64.
    bounds = Bounds.of(COLLECTING, BYTES + 2 * int(handle.settings.get("results_limit", 0)))
    with suppress(NotFound, Refused):
        for replica in lepton.replicas(native):
            output, whole = _log(lepton, native, replica, bounds)
            got = received(output)
            if got.complete:
                return got
            if not whole and len(output) < bounds.most:
                raise Unreachable(f"the log of {replica} broke off; asked again later")
            best = best or got
    return best


def _log(lepton: Lepton, native: str, replica: str, bounds: Bounds) -> tuple[bytes, bool]:
    try:
        return lepton.log(native, replica, bounds)
    except NotFound:
        return b"", True
