"""Plans: what a configuration comes to, and everything that is wrong with one at once."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InvalidInput, UsageError
from launcher.configuration.compose import compose
from launcher.configuration.model import validate
from launcher.plans.planning import plan_run
from planned_runs import DIGEST, RUN_ID, URL, catalog, config, plan

SEED = """
defaults:
- execution: local
- deployment: none
- _self_
execution:
  output_dir: ./results
  mode: sequential # or parallel
  # Docker-specific options
  docker_args:
  - "--gpus=all"
  - "--shm-size=16g"
  # Container resource limits
  memory_limit: "64g"
  cpus: 8
target:
  api_endpoint:
    model_id: some/model
    url: https://endpoint.example/v1/chat/completions
    api_key_name: MY_KEY
evaluation:
  tasks:
  - name: quickcheck.chat
    env_vars:
      HF_TOKEN: HF_TOKEN
"""


def problems(data: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        plan(data, **more)
    return list(caught.value.problems)


def test_a_configuration_of_the_fields_shape_works_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "local_config.yaml").write_text(SEED)
    composed = compose(tmp_path / "local_config.yaml", ["execution.mode=parallel"])
    secrets = {"MY_KEY": "k-1", "HF_TOKEN": "t-1"}
    made = plan_run(
        catalog(), validate(composed), environ=secrets, run_id=RUN_ID, directory=Path("/runs/one")
    ).plan
    (job,) = made.jobs
    assert made.backend == "docker"
    assert job.image == f"registry.example/evals/quickcheck@{DIGEST}"
    assert (job.resources.memory, job.resources.shm, job.resources.gpus) == (64 << 30, 16 << 30, -1)
    assert job.resources.cpus == 8
    assert {s.name for s in job.secrets} == {"MY_KEY", "HF_TOKEN"}
    assert "k-1" not in repr(made)
    assert "t-1" not in repr(made)
    assert "--api-key-name MY_KEY" in job.command
    assert job.config["target"]["api_endpoint"]["url"] == "https://endpoint.example/v1/chat/completions"


def test_planning_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert plan({"evaluation": {"tasks": ["chat"]}}).jobs[0].task == "quickcheck.chat"


def test_every_task_runs_for_every_model() -> None:
    targets = [{"api_endpoint": {"url": URL, "model_id": model}} for model in ("a", "b/c")]
    made = plan({"targets": targets, "evaluation": {"tasks": ["chat", "one", "one"]}})
    assert [(job.endpoint.model_id, job.task) for job in made.jobs] == [
        (model, task) for model in ("a", "b/c") for task in ("quickcheck.chat", "trap.one", "trap.one")
    ]
    assert len({job.key for job in made.jobs}) == len({job.directory for job in made.jobs}) == 6


def test_the_same_task_twice_with_other_parameters() -> None:
    tasks = [
        {"name": "one", "params": {"temperature": 0.1}},
        {"name": "one", "overrides": {"config.params.temperature": 0.2}},
        {"name": "one", "nemo_evaluator_config": {"config": {"params": {"temperature": 0.5}}}},
        {"name": "one", "params": {"parallelism": 64, "request_timeout": 9, "limit_samples": 3}},
    ]
    jobs = plan({"evaluation": {"tasks": tasks}}).jobs
    assert [f"--temperature {t}" in job.command for t, job in zip((0.1, 0.2, 0.5, 0.5), jobs, strict=True)]
    shas = [job.params_sha for job in jobs]
    # Asking for the default, or for another speed, is the same question.
    assert shas[2] == shas[3] == plan({"evaluation": {"tasks": ["one"]}}).jobs[0].params_sha
    assert len({*shas}) == 3
    assert len({job.task_sha for job in jobs}) == 1


def test_a_base_url_gets_the_path_of_each_tasks_type() -> None:
    jobs = plan({"evaluation": {"tasks": ["chat", "two", "embeds"]}}).jobs
    assert [job.endpoint.url.removeprefix(URL) for job in jobs] == [
        "/chat/completions",
        "/completions",
        "/embeddings",
    ]


def test_values_are_quoted_where_they_land() -> None:
    model = "m'$(touch /tmp/x)`x` \"ü"
    endpoint = {"api_endpoint": {"url": URL, "model_id": model}}
    tasks = [{"name": "one", "params": {"extra": {"args": "--a 'b c'; rm"}}}]
    (job,) = plan({"target": endpoint, "evaluation": {"tasks": tasks}}).jobs
    assert "--model 'm'\"'\"'$(touch /tmp/x)`x` \"ü' --url" in job.command
    assert job.command.endswith("--a 'b c;' rm")
    assert job.config["target"]["api_endpoint"]["model_id"] == model


def test_adapter_configuration_passes_through() -> None:
    adapter = {"interceptors": [{"name": "caching", "config": {"cache_dir": "/results/cache"}}]}
    endpoint = {"api_endpoint": {"url": URL, "model_id": "m", "adapter_config": adapter}}
    (job,) = plan({"target": endpoint, "evaluation": {"tasks": ["chat"]}}).jobs
    assert job.config["target"]["api_endpoint"]["adapter_config"] == adapter


def test_without_containers_packages_and_a_real_results_folder(tmp_path: Path) -> None:
    made = plan({"execution": {"type": "process"}, "evaluation": {"tasks": ["chat"]}}, directory=tmp_path)
    (job,) = made.jobs
    assert (job.image, job.packages) == (None, ("./harnesses/quickcheck",))
    assert f"--output-dir {tmp_path}/jobs/000-quickcheck.chat-m/artifacts" in job.command
    docker = plan({"evaluation": {"tasks": ["chat"]}}).jobs[0]
    assert "--output-dir /results" in docker.command
    assert docker.task_sha != job.task_sha


def test_every_problem_at_once() -> None:
    endpoint = {"api_endpoint": {"url": f"{URL}/chat/completions", "model_id": "m", "capabilities": []}}
    found = problems(
        {
            "execution": {"docker_args": ["--gpu=all", "--shm-size=much"], "env_vars": {"A": "host:UNSET"}},
            "target": endpoint,
            "evaluation": {"tasks": ["chatt", "two", "tool_use", "odd"], "required_env_vars": ["ALSO_UNSET"]},
        }
    )
    text = "\n".join(found)
    for expected in (
        "execution.docker_args: '--gpu' (word 1) is not translated; did you mean '--gpus'",
        "execution.docker_args: --shm-size: not a size: 'much'",
        "execution.env_vars.A: the variable UNSET is not set",
        "evaluation.required_env_vars.ALSO_UNSET: the variable ALSO_UNSET is not set",
        "no task named 'chatt' (did you mean chat?)",
        "(two): an endpoint of type completions does not answer at http://127.0.0.1:8000/v1/chat/completions",
        "(tool_use): needs tools, which target.api_endpoint.capabilities doesn't list",
        "(odd): its command can't be rendered",
    ):
        assert expected in text, text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"evaluation": {"tasks": []}}, "no task is named"),
        ({"target": {}, "evaluation": {"tasks": ["chat"]}}, "target.api_endpoint.url is not set (--url)"),
        ({"evaluation": {"tasks": [{"name": "chat", "endpoint_type": "embedding"}]}}, "the task takes chat"),
        (
            {"evaluation": {"tasks": [{"name": "chat", "container": "registry.example/x:1"}]}},
            "not pinned; add @sha256",
        ),
        (
            {"execution": {"env_vars": {"KEY": "sk-not a name"}}, "evaluation": {"tasks": ["chat"]}},
            "expected host:NAME",
        ),
        ({"deployment": {"type": "generic"}, "evaluation": {"tasks": ["chat"]}}, "needs the command"),
        (
            {"deployment": {"type": "vllm"}, "evaluation": {"tasks": ["chat"]}},
            "exactly one of checkpoint",
        ),
        (
            {"evaluation": {"tasks": [{"name": "chat", "depends_on": "two"}]}},
            "depends_on 'two' matches no task of this run",
        ),
    ],
)
def test_what_is_refused(data: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(problems(data))


def test_a_secret_by_mistake_is_not_repeated() -> None:
    data = {"execution": {"env_vars": {"KEY": "sk-123 secret"}}, "evaluation": {"tasks": ["chat"]}}
    told = "\n".join(problems(data))
    assert "env_vars.KEY: expected host:NAME" in told
    assert "sk-123" not in told


def test_dependencies_become_keys_and_circles_are_named() -> None:
    tasks = [{"name": "chat"}, {"name": "one", "depends_on": ["quickcheck.chat"]}]
    jobs = plan({"evaluation": {"tasks": tasks}}).jobs
    assert jobs[1].depends_on == (jobs[0].key,)
    circle = [{"name": "chat", "depends_on": "one"}, {"name": "one", "depends_on": "chat"}]
    (line,) = problems({"evaluation": {"tasks": circle}})
    assert line == "dependencies go in a circle: quickcheck.chat → trap.one → quickcheck.chat"


def test_environment_by_kind() -> None:
    variables = {
        "A": "lit:plain text",
        "B": "host:HOME_B",
        "C": "runtime:ON_NODE",
        "D": "MAYBE?",
        "E": "HOME_B",
    }
    made = plan(
        {"execution": {"env_vars": variables}, "evaluation": {"tasks": ["chat"]}}, environ={"HOME_B": "x"}
    )
    (job,) = made.jobs
    assert job.env == {"A": "plain text"}
    assert {(s.name, s.source, s.where) for s in job.secrets} == {
        ("B", "HOME_B", "host"),
        ("C", "ON_NODE", "runtime"),
        ("E", "HOME_B", "host"),
    }


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        (
            {
                "type": "vllm",
                "checkpoint_path": "/models/llama",
                "tensor_parallel_size": 4,
                "max_model_len": 8192,
            }
            | {"gpu_memory_utilization": 0.9},
            "vllm serve /models/llama --port 8000 --tensor-parallel-size 4 --max-model-len 8192 "
            "--gpu-memory-utilization 0.9 --served-model-name /models/llama",
        ),
        (
            {
                "type": "sglang",
                "hf_model_handle": "org/m",
                "served_model_name": "m",
                "tensor_parallel_size": 2,
            },
            "python3 -m sglang.launch_server --model-path org/m --host 0.0.0.0 --port 8000 "
            "--tensor-parallel-size 2 --served-model-name m",
        ),
        ({"type": "nim", "nim_model_name": "meta/llama", "image": "nvcr.io/nim/x:1"}, ""),
        ({"type": "generic", "command": "serve --port {port} 'a b'", "served_model_name": "m"}, None),
    ],
)
def test_deployments(settings: dict[str, Any], command: str | None) -> None:
    (job,) = plan({"target": {}, "deployment": settings, "evaluation": {"tasks": ["chat"]}}).jobs
    assert job.deployment is not None
    expected = command.split() if command is not None else ["serve", "--port", "{port}", "a b"]
    assert list(job.deployment.command) == expected
    assert job.endpoint.url == "http://127.0.0.1:8000/v1/chat/completions"
    if settings["type"] == "nim":
        assert job.deployment.env == {"NIM_MODEL_NAME": "meta/llama", "NIM_HTTP_API_PORT": "8000"}


def test_mistakes_of_a_configuration_name_path_file_and_the_nearest_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        config({"execution": {"mod": "x", "cpus": -1}, "evaluation": {"task": []}, "exekution": {}})
    assert set(caught.value.problems) == {
        "execution.mod (run.yaml): no such setting; did you mean 'mode'?",
        "execution.cpus (run.yaml): input should be greater than 0, got -1",
        "evaluation.task (run.yaml): no such setting; did you mean 'tasks'?",
        "exekution (run.yaml): no such setting; did you mean 'execution' or 'evaluation'?",
    }


def test_a_cycle_of_defaults_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("defaults: [b, _self_]")
    (tmp_path / "b.yaml").write_text("defaults: [a]")
    with pytest.raises(UsageError, match=r"a cycle in defaults: a\.yaml → b\.yaml → a\.yaml"):
        compose(tmp_path / "a.yaml", [])


def test_later_layers_win_and_own_groups_come_first(tmp_path: Path) -> None:
    (tmp_path / "execution").mkdir()
    (tmp_path / "execution" / "local.yaml").write_text("type: process\nretries: 1\ntimeout: 5")
    (tmp_path / "run.yaml").write_text(
        "defaults: [{execution: local}, _self_]\nexecution: {retries: 2, timeout: '${half}0'}\nhalf: 3"
    )
    composed = compose(tmp_path / "run.yaml", ["execution.retries=3", "+evaluation.tasks=[chat, one]"])
    assert composed.data["execution"] == {"type": "process", "retries": 3, "timeout": "30"}
    assert composed.data["evaluation"] == {"tasks": ["chat", "one"]}
    assert composed.source(["execution", "type"]).endswith("local.yaml")
    assert composed.source(["execution", "retries"]) == "override execution.retries=3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("defaults: [{execution: locl}]", r"no execution named 'locl'; did you mean 'local'\?"),
        ("defaults: [{deploiment: none}]", r"no group 'deploiment'"),
        ("defaults: [{a: b, c: d}]", r"expected a name, _self_ or one `group: name` pair"),
        ("defaults: [missing]", r"no configuration 'missing'"),
        ("- a", "a configuration must be a mapping"),
        ("a: [", "not YAML"),
        ("a: ${nothing}", "nothing"),
    ],
)
def test_what_composing_refuses(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(Exception, match=expected) as caught:
        compose(tmp_path / "run.yaml", [])
    assert "run.yaml" in str(caught.value) or "missing" in text


def test_an_unknown_backend_is_named_with_the_nearest() -> None:
    expected = r"execution\.type: no backend 'proces'; did you mean 'process'\?; there are docker"
    with pytest.raises(InvalidInput, match=expected):
        plan({"execution": {"type": "proces"}, "evaluation": {"tasks": ["quickcheck.chat"]}})


@pytest.mark.parametrize(
    ("backend", "way_out"),
    [
        ({"type": "docker"}, "use `execution: process`"),
        ({"type": "slurm", "container_runtime": "docker"}, "set `container_runtime: none`"),
        ({"type": "lepton", "resource_shape": "cpu.small"}, "push it to a registry"),
    ],
    ids=["docker", "slurm", "lepton"],
)
def test_an_image_that_nobody_can_pull_comes_with_the_backends_own_way_out(
    backend: dict[str, Any], way_out: str
) -> None:
    given = catalog()
    packed = replace(given.harnesses[0].image, container="oci:images/quickcheck:1.0")
    packed_only = replace(given, harnesses=(replace(given.harnesses[0], image=packed),))
    (problem,) = problems(
        {"evaluation": {"tasks": ["quickcheck.chat"]}, "execution": backend}, of=packed_only
    )
    assert "is not in a registry" in problem
    assert way_out in problem
