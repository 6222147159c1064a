"""A harness that nobody here wrote, with its own data, through every backend: real code, real scores."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from catalog.models import Catalog
from launched import Place, changed, here, supervise
from launcher.jobs import State
from launcher.results import results_file
from launcher.runs import run_id
from launcher.runs.database import Database
from planned_runs import HARNESSES, harness, plan
from services.pypi import RealWheels
from standins import standin, stats

# Two minutes where nothing of it is kept from an earlier run: packages, base image, image.
pytestmark = pytest.mark.timeout(1500)


def described(wheels: RealWheels) -> Catalog:
    (wheel,) = (path for path in wheels.harnesses if "mmath" in path.name)
    with zipfile.ZipFile(wheel) as file:
        text = file.read("core_evals/mmath/framework.yml").decode()
    packages = ("./harnesses/mmath/requirements.txt",)
    return Catalog(
        root=str(HARNESSES.parent), mapping_sha256="", harnesses=(harness(text, packages=packages),)
    )


def test_mmath_scores_the_stand_in(
    place: Place,
    tmp_path: Path,
    database: Database,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVALDOCK_CACHE", str(request.getfixturevalue("environments")))
    wheels: RealWheels = request.getfixturevalue("real_wheels")
    environ = {"STANDIN_KEY": "only-for-the-stand-in"}
    with standin(tmp_path) as url:
        run = plan(
            {
                "execution": place.beside(),
                "target": {"api_endpoint": {"model_id": "m/é", "url": url, "api_key_name": "STANDIN_KEY"}},
                "evaluation": {"tasks": [{"name": "mmath_en", "params": {"limit_samples": 3}}]},
            },
            environ=environ,
            directory=tmp_path / "run",
            identity=run_id.new(),
            of=described(wheels),
            keep=True,
        )
        if place.contained:
            run = changed(run, image=request.getfixturevalue("harness_image")(HARNESSES / "mmath"))
        database.record(run)
        # Its packages may have to be installed first.
        (row,) = supervise(database, run, environ, patience=600)
        folder = here(run)
        assert (row.state, row.reason) == (State.SUCCEEDED, None)
        assert stats(url)["requests"] >= 3
    metrics = results_file.read(folder / "artifacts").metrics
    assert {"MMATH", "AIME2024"} == {metric.name.split("/")[0] for metric in metrics}
    assert all(0 <= metric.value <= 1 for metric in metrics)
    # The one below artifacts/ is the harness's to rewrite.
    given = json.loads((folder / "run_config.yml").read_bytes())
    assert given["config"]["params"]["limit_samples"] == 3
    if run.jobs[0].packages:
        installed = json.loads((folder / "packages.json").read_bytes())
        assert (installed["nvidia-mmath"], installed["nemo-evaluator"]) == ("26.3", "0.2.8")
