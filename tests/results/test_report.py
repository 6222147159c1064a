"""`evaldock report`: what a run's summary says, and that nothing in it can leave its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import record_files
from catalog.records import Metric
from launched import Place, changed, supervise
from launcher.jobs import Endpoint, RunPlan
from launcher.results.recording import record_of
from launcher.results.report_text import as_markdown
from launcher.results.reporting import report
from launcher.runs.database import Database
from running import evaldock

ON_PROCESS = Place("process")
HOSTILE = "m|`x`\n::error::pwned\r##[warning]x</pre><script>&%0A$(touch pwned)\u202e[a](b)"


def results(value: float, count: int = 50) -> str:
    stats = f"stats: {{count: {count}, mean: {value}}}"
    body = f"{{tasks: {{t0: {{metrics: {{accuracy: {{scores: {{micro: {{value: {value}, {stats}}}}}}}}}}}}}}}"
    return f"echo 'results: {body}' >{{out}}/results.yml"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("EVALDOCK_STATE", str(tmp_path / "state"))
    opened = Database()
    yield opened
    opened.close()


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    (tmp_path / "mapping.toml").write_text("")
    return tmp_path


def planned(folder: Path, *commands: str) -> RunPlan:
    return changed(ON_PROCESS.run(folder, *commands), task_sha="task", params_sha="params")


def ran(database: Database, folder: Path, *commands: str) -> RunPlan:
    return finished(database, planned(folder, *commands))


def finished(database: Database, run: RunPlan) -> RunPlan:
    database.record(run)
    supervise(database, run)
    return run


def publish(database: Database, run: RunPlan, catalog: Path) -> None:
    record, samples = record_of(run, run.jobs[0], database.jobs(run.run_id)[0], environ={})
    record_files.write(catalog, record, samples)


def test_a_score_stands_beside_the_one_before(database: Database, catalog: Path) -> None:
    publish(database, ran(database, catalog / "a", results(0.5)), catalog)
    last = ran(database, catalog / "b", results(0.9))
    (told,) = evaldock("report", last.run_id, "--catalog", catalog, "--json").json
    (job,) = told["jobs"]
    assert (told["state"], job["value"], job["metric"]) == ("succeeded", 0.9, "t0/accuracy/micro")
    assert job["before"]["comparison"]["first"] == 0.5
    assert job["before"]["comparison"]["verdict"] == "higher"
    text = evaldock("report", last.run_id, "--catalog", catalog, "--format", "markdown").out
    assert "1 of 1 jobs succeeded" in text
    assert "| `shell.t0` | `m` | succeeded | **0.9000** `t0/accuracy/micro` |" in text
    assert "| 0.5000 | +0.4000: higher |" in text
    assert evaldock("report", last.run_id, "--catalog", catalog, "--format", "github").out.strip() == ""


def test_the_same_question_counts_more_than_a_newer_one(database: Database, catalog: Path) -> None:
    first = ran(database, catalog / "a", results(0.5))
    publish(database, first, catalog)
    other = changed(planned(catalog / "b", results(0.1)), params_sha="other")
    publish(database, finished(database, other), catalog)
    last = ran(database, catalog / "c", results(0.9))
    before = report(database, last.run_id, catalog, {}).jobs[0].before
    assert before is not None
    assert before.record.run.startswith(first.run_id)


def test_of_another_question_the_difference_says_so(database: Database, catalog: Path) -> None:
    publish(database, ran(database, catalog / "a", results(0.5)), catalog)
    last = finished(database, changed(planned(catalog / "b", results(0.9)), params_sha="other"))
    assert "not the same question" in as_markdown([report(database, last.run_id, catalog, {})], limit=10**6)


def test_what_failed_is_told_with_its_log(database: Database, catalog: Path) -> None:
    run = ran(database, catalog / "a", "echo the last words; exit 3", "exit 0", results(1.0))
    told = report(database, run.run_id, catalog, {})
    assert told.state == "failed"
    text = as_markdown([told], limit=10**6)
    assert "1 of 3 jobs succeeded" in text
    assert "<summary>shell.t0 for m: failed</summary>" in text
    assert "the last words" in text
    lines = evaldock("report", run.run_id, "--catalog", catalog, "--format", "github").out.splitlines()
    assert lines[0].startswith("::error title=shell.t0 for m failed::")
    assert len(lines) == 2


def test_secrets_in_a_log_are_not_told(
    database: Database, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.jobs import SecretName  # noqa: PLC0415

    monkeypatch.setenv("API_KEY", "s3cret-value")
    secret = SecretName(name="API_KEY", source="API_KEY")
    run = changed(ON_PROCESS.run(catalog / "a", "echo key=$API_KEY; exit 1"), secrets=(secret,))
    database.record(run)
    supervise(database, run, {"API_KEY": "s3cret-value"})
    text = evaldock("report", run.run_id, "--catalog", catalog, "--format", "markdown").out
    assert "key=" in text
    assert "s3cret-value" not in text


def test_hostile_names_stay_in_their_place(
    database: Database, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint(model_id=HOSTILE, url="http://127.0.0.1:9/v1", type="chat")
    command = "printf '%s\\n' '</pre></details>' '::error::pwned' '```' \"$(printf '\\033[2J')\"; exit 1"
    run = changed(ON_PROCESS.run(catalog / "a", command), endpoint=endpoint, task="shell.t0")
    finished(database, run)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    github = evaldock("report", run.run_id, "--catalog", catalog, "--format", "github").out
    assert len(github.splitlines()) == 1
    assert github.startswith("::error title=shell.t0 for m|`x`%0A%3A%3Aerror%3A%3Apwned%0D")
    assert "\u202e" not in github
    text = evaldock("report", run.run_id, "--catalog", catalog, "--format", "markdown").out
    assert not re.search(r"^\s*::|##\[", text, re.M)
    assert "<script>" not in text.replace(code_span(text), "")
    assert text.replace(code_span(text), "").count("</pre>") == 1
    assert text.count("</details>") == 1
    row = next(line for line in text.splitlines() if line.startswith("| "))
    assert len(re.findall(r"(?<!\\)\|", row)) == 8
    assert "\x1b" not in text


def code_span(text: str) -> str:
    """The one span that holds the model's name: inside of it nothing is markup."""
    found = re.search(r"``m.*?\)``(?!`)", text)
    assert found is not None
    return found[0]


def test_a_summary_keeps_within_its_limit(database: Database, catalog: Path) -> None:
    run = ON_PROCESS.run(catalog / "a", "head -c 4000 /dev/zero | tr '\\0' x; exit 1")
    finished(database, run)
    told = report(database, run.run_id, catalog, {})
    many = replace(told, jobs=told.jobs * 3000)
    for limit in (1_000_000, 100_000, 3_000, 150):
        text = as_markdown([many], limit=limit)
        assert len(text.encode()) <= limit
        assert "0 of 3000 jobs succeeded" in text


def test_a_score_without_uncertainty_says_so(database: Database, catalog: Path) -> None:
    run = ran(database, catalog / "a", "echo 'results: {tasks: {t: {metrics: {m: {scores: {s: {value: 2.5, stats: {}}}}}}}}' >{out}/results.yml")  # fmt: skip # noqa: E501
    told = report(database, run.run_id, catalog, {})
    assert told.jobs[0].record is not None
    assert told.jobs[0].record.primary == Metric(name="t/m/s", value=2.5)
    assert "| unknown | none | first result |" in as_markdown([told], limit=10**6)
