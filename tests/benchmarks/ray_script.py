"""Jobs of a Ray head, by evaldock or by Ray's own client: `ray_script.py WHO WHAT COUNT URL FOLDER`.

WHO is `evaldock` or `client`, WHAT `submit` or `status`. Prints the seconds without imports as JSON. No job
can ever start, since no node has what it asks for: only handing over is measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOWHERE = {"nowhere": 1.0}


def main() -> None:
    who, what, count, url, folder = sys.argv[1:]
    act = (_evaldock if who == "evaldock" else _client)(what, int(count), url, Path(folder))
    began = time.perf_counter()
    done = act()
    print(json.dumps({"seconds": time.perf_counter() - began, "jobs": done}))


def _evaldock(what: str, count: int, url: str, folder: Path) -> Callable[[], int]:
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
    from launched import Place  # noqa: PLC0415 # only this contestant
    from launcher.jobs import State  # noqa: PLC0415
    from launcher.runs.database import Database  # noqa: PLC0415
    from launcher.runs.supervisor import tick  # noqa: PLC0415

    shared = folder / "shared"
    shared.mkdir(exist_ok=True)
    settings = {"dashboard_url": url, "shared_dir": str(shared), "entrypoint_resources": NOWHERE}
    place = Place("ray", remote=str(shared), settings=settings)
    database = Database(folder / "runs.db")

    def submit() -> int:
        run = place.run(folder / "runs", *["true"] * count, parallel=count)
        database.record(run)
        return sum(row.state is State.QUEUED for row in tick(database, run.run_id, {}))

    def status() -> int:
        run = database.plan(database.runs()[-1].run_id)
        return sum(row.state is State.QUEUED for row in tick(database, run.run_id, {}))

    return submit if what == "submit" else status


def _client(what: str, count: int, url: str, folder: Path) -> Callable[[], int]:
    import logging  # noqa: PLC0415

    from ray.job_submission import JobSubmissionClient  # noqa: PLC0415 # only this contestant

    logging.getLogger("ray").setLevel(logging.ERROR)
    client: Any = JobSubmissionClient(url)
    known = folder / "client.json"

    def submit() -> int:
        ids = [client.submit_job(entrypoint="true", entrypoint_resources=NOWHERE) for _ in range(count)]
        known.write_text(json.dumps(ids))
        return len(ids)

    def status() -> int:
        return sum(client.get_job_status(each) == "PENDING" for each in json.loads(known.read_text()))

    return submit if what == "submit" else status


if __name__ == "__main__":
    main()
