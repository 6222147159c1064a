"""`python -m launcher.action run|collect|stop|clean`. An error becomes an annotation and the exit code."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from catalog.errors import EvaldockError
from catalog.github.workflow_step import Workflow, switch_signals
from launcher.action import credentials
from launcher.action.inputs import read_collect, read_run
from launcher.profiles.key_binding import VARIABLE as BOUND_KEYS

INTERRUPTED = 130


def main(what: str) -> int:
    switch_signals()
    folder = _folder()
    if what == "clean":
        credentials.remove(folder)
        return 0
    # A run of this invocation's own, in a database of its own; keys go where profiles bind them to.
    os.environ |= {"EVALDOCK_STATE": str(folder / "state"), BOUND_KEYS: "1"}
    workflow = Workflow(dict(os.environ))
    try:
        environ, token = credentials.hand_over(os.environ, folder)
        workflow = Workflow(environ)
        return _go(what, workflow, folder, token)
    except (EvaldockError, OSError) as error:
        return workflow.failed(error)
    except KeyboardInterrupt:
        workflow.warning("interrupted; what has been started is cancelled next")
        return INTERRUPTED
    finally:
        credentials.remove(folder)


def _go(what: str, workflow: Workflow, folder: Path, token: str) -> int:
    # OmegaConf, SQLite, git and the backends; not to say that an input is wrong.
    from launcher.action import collecting, running  # noqa: PLC0415

    match what:
        case "run":
            return running.Run(workflow, read_run(workflow), folder, token).go()
        case "stop":
            return running.stop(workflow, read_collect(workflow), token)
        case "collect":
            return collecting.Collector(workflow, read_collect(workflow), folder, token).go()
    raise SystemExit(f"not a part of the action: {what!r}")


def _folder() -> Path:
    """This invocation's own, that of all its steps: EVALDOCK_ACTION_FOLDER, else a new one."""
    given = os.environ.get("EVALDOCK_ACTION_FOLDER")
    folder = Path(given) if given else Path(tempfile.mkdtemp(prefix="evaldock-action-"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else ""))
