"""Writes docs/reference/run-configuration.md from the model that checks configurations:
`python -m docs.run_configuration_reference`.

Names, types, defaults and the table of flags come from the code; what a setting is for stands here. A test
says when the page is out of date or a setting lacks its sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.configuration.docker_flags import FLAGS
from launcher.configuration.groups import GROUPS
from launcher.configuration.model import RunConfig

PAGE = Path(__file__).parent / "reference" / "run-configuration.md"

SIZES = ("execution.memory_limit", "execution.shm_size")
MEANINGS: Mapping[str, str] = {
    "execution.type": "The [backend](../how-to/choose-backend.md): `docker` (or `local`), `process`, "
    "`slurm`, `ray` or `lepton`.",
    "execution.output_dir": "Parent of the run's folder. Default: `./evaldock-runs`. `--output-dir` wins. "
    "On `slurm` by SSH and on `lepton` it is a folder there.",
    "execution.mode": "`sequential`: one job at a time. `parallel`: all at once, the default on `slurm`. "
    "`execution.parallel` wins.",
    "execution.parallel": "How many jobs may run at once.",
    "execution.retries": "Further attempts of a job that failed or was lost.",
    "execution.on_failure": "`stop-all`: the first job that fails for good stops the others.",
    "execution.timeout": "Seconds that one attempt of a job may run; waiting for its start doesn't count.",
    "execution.queue_timeout": "Seconds that a submitted job may wait for its start.",
    "execution.deadline": "Seconds that the whole run may take, from when it was made or resumed.",
    "execution.docker_args": "Flags of `docker run`; see the [table](#flags-in-docker_args).",
    "execution.memory_limit": "Memory of a job. On `slurm` also `memory`.",
    "execution.shm_size": "Its `/dev/shm`, in a container.",
    "execution.cpus": "Its processors. On `slurm` also `cpus_per_task`.",
    "execution.gpus": "Its GPUs: how many, or `all`. On `slurm` also `gpus_per_node`.",
    "execution.network": "Network of its container, such as `host`.",
    "execution.user": "The user its container runs as, `UID[:GID]` or a name.",
    "execution.mounts": "Folders in its container: `SOURCE:/TARGET[:ro]`. On `lepton` its [volumes]"
    "(../how-to/lepton.md#settings).",
    "execution.env_vars": "[Variables](#variables) of every job.",
    "deployment.type": "What serves the model beside the evaluation. [More](../how-to/deployments.md)",
    "deployment.image": "The server's image. `nim` needs one; `vllm` and `sglang` have a default.",
    "deployment.command": "The command of a `generic` server; `{port}` in it becomes the port.",
    "deployment.port": "Where the server listens.",
    "deployment.health_path": "It is ready when this path answers.",
    "deployment.endpoint_path": "Path of the model's endpoint. Default: that of the task's endpoint type.",
    "deployment.deadline": "Seconds until it must be ready.",
    "deployment.served_model_name": "What its endpoint calls the model.",
    "deployment.checkpoint_path": "Folder of the model, as the server sees it. For `vllm` and `sglang`.",
    "deployment.hf_model_handle": "Or the model's name on Hugging Face.",
    "deployment.nim_model_name": "For `nim`: `NIM_MODEL_NAME`.",
    "deployment.tensor_parallel_size": "For `vllm` and `sglang`.",
    "deployment.pipeline_parallel_size": "For `vllm` and `sglang`.",
    "deployment.data_parallel_size": "For `vllm` and `sglang`.",
    "deployment.max_model_len": "Longest context. For `vllm` and `sglang`.",
    "deployment.gpu_memory_utilization": "Part of the GPU's memory. For `vllm` and `sglang`.",
    "deployment.extra_args": "Further arguments of the server's command.",
    "deployment.env_vars": "[Variables](#variables) of the server.",
    "deployment.mounts": "Folders in the server's container.",
    "target.api_endpoint.url": "The endpoint. Up to `/v1` is enough: each task gets the path of its type.",
    "target.api_endpoint.deployment_name": "Instead of `url`: the endpoint of a Lepton workspace that serves "
    "the model (`type: lepton`).",
    "target.api_endpoint.model_id": "The model's name there.",
    "target.api_endpoint.api_key_name": "Name of the variable that holds the key. Never the key itself.",
    "target.api_endpoint.type": "Endpoint type. Default: the first that a task takes.",
    "target.api_endpoint.stream": "Handed to the harness.",
    "target.api_endpoint.adapter_config": "Handed to the harness as it is (interceptors, caching).",
    "target.api_endpoint.capabilities": "What the endpoint can do (`tools`, `vision` …). If given, tasks "
    "that need more are refused.",
    "evaluation.tasks": "What runs: names, or mappings as [below](#one-task).",
    "evaluation.overrides": "Changes to every task, by dotted key: `config.params.temperature: 0`.",
    "evaluation.nemo_evaluator_config": "The same, nested.",
    "evaluation.env_vars": "[Variables](#variables) of every job.",
    "evaluation.required_env_vars": "Names of variables that must be set and are passed on.",
    "task.name": "`task` or `harness.task`; `evaldock ls tasks` lists them.",
    "task.overrides": "Changes to this task, by dotted key.",
    "task.nemo_evaluator_config": "The same, nested.",
    "task.params": "Short for changes below `config.params`.",
    "task.endpoint_type": "Which endpoint type, if the task takes several.",
    "task.env_vars": "[Variables](#variables) of this task's jobs.",
    "task.container": "Another image, pinned by digest.",
    "task.shards": "In how many parts it runs, each a job; one more joins them "
    "([how](../how-to/sharding.md)).",
    "task.depends_on": "Tasks of this run that must succeed first (for the same model), or `RUN/TASK` or the "
    "key of a job for those of other runs.",
    "task.timeout": "Instead of `execution.timeout`.",
}

HEAD = """\
<!-- Made by `make reference` from the model that checks configurations. -->
# Run configurations

A YAML file for `evaldock run --config-dir DIR --config-name NAME`. All mistakes are told at once, each with
its key, the file it stands in and the nearest valid name.

```yaml
defaults:
  - execution: docker
  - deployment: none
  - _self_
execution:
  mode: parallel
target:
  api_endpoint:
    url: https://api.example/v1
    model_id: org/model
    api_key_name: API_KEY
evaluation:
  tasks:
    - quickcheck.chat
    - name: mmath_en
      params: {temperature: 0.6, limit_samples: 50}
```

On the command line a setting is `execution.mode=parallel`.

`defaults` is composed first: names of other files in the same folder, and `group: name` pairs, which are
files `group/name.yaml` there or one of the built-in groups below. `_self_` is the place of the file's own
content, the end if missing. Later ones win. Then come the [profile](../how-to/profiles.md), command-line
options and `key.path=value` overrides, whose values are YAML. `${…}` interpolations are OmegaConf's and
[some more](../how-to/profiles.md#values-from-elsewhere): `${env:NAME}` reads a variable.

| built-in group | names |
|---|---|
"""

VARIABLES = """\
## Variables

In every `env_vars`, a value says where it comes from:

| value | the job gets |
|---|---|
| `host:NAME` or only `NAME` | the value of NAME where `evaldock run` runs. Treated as a secret. |
| `runtime:NAME` | the value of NAME on the machine where the job runs. Treated as a secret. |
| `lit:VALUE` | VALUE. It stands in the plan, so it is no place for a secret. |

A `host:` variable that is not set fails the plan, unless it ends in `?`: `host:HF_TOKEN?`. Secrets appear in
plans, databases and scripts by name only; the value goes into a file that only the job's user can read, and
is deleted when the job has read it.
"""

FLAG_HEAD = """\
## Flags in docker_args

`execution.docker_args` takes flags as `docker run` does: `--flag=value`, or `--flag value` as one text or
two. They are translated into calls of the engine, so only those in this table work; any other is an error.
`--rm`, `-d`, `-i` and `-t` are passed over.

| flag | sets | can be repeated |
|---|---|---|
"""


def page() -> str:
    schema = RunConfig.model_json_schema()
    groups = "".join(
        f"| `{name}` | {', '.join(f'`{entry}`' for entry in sorted(entries))} |\n"
        for name, entries in GROUPS.items()
    )
    parts = [HEAD.rstrip("\n") + "\n" + groups.rstrip("\n")]
    for title, name, prefix, text in SECTIONS:
        rows = "\n".join(_rows(schema["$defs"], name, prefix))
        below = "" if prefix == "task" else f"Keys below `{prefix}`:"
        table = f"| key | meaning |\n|---|---|\n{rows}"
        parts.append("\n\n".join(part for part in (f"## {title}", text, below, table) if part))
    parts += [VARIABLES.strip(), FLAG_HEAD.strip() + "\n" + "\n".join(_flags())]
    return "\n\n".join(parts) + "\n"


SECTIONS = (
    (
        "execution",
        "Execution",
        "execution",
        "Where and how jobs run. What only one backend takes stands with it: "
        "[Slurm](../how-to/slurm.md#settings), [Ray](../how-to/ray.md#all-settings), "
        "[Lepton](../how-to/lepton.md#settings).\n\n"
        "`process` gives a job all of the machine: nothing from `docker_args` to `mounts` counts there. On "
        "`lepton` the resource shape says what a job gets.",
    ),
    ("deployment", "Deployment", "deployment", "A model server that is started beside each evaluation."),
    (
        "target",
        "ApiEndpoint",
        "target.api_endpoint",
        "The model that is asked. `targets`, a list of such `api_endpoint` mappings, asks several: each task "
        "runs for each.",
    ),
    ("evaluation", "Evaluation", "evaluation", "What is run."),
    ("One task", "Task", "task", "An entry of `evaluation.tasks`."),
)


def settings() -> list[str]:
    """Every setting's name, as in MEANINGS."""
    defined = RunConfig.model_json_schema()["$defs"]
    return [f"{prefix}.{key}" for _, name, prefix, _ in SECTIONS for key in defined[name]["properties"]]


def _rows(defined: Mapping[str, Any], name: str, prefix: str) -> Iterator[str]:
    for key, schema in defined[name]["properties"].items():
        whole = f"{prefix}.{key}"
        kind = "size (`64g`)" if whole in SIZES else _kind(schema)
        default = "required" if key in defined[name].get("required", ()) else _default(schema)
        # Two columns, not four: these tables are read on telephones, too.
        small = f"*{kind}{'; ' if default else ''}{default}*"
        yield f"| `{key}` | {MEANINGS.get(whole, '')}<br>{small} |"


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return "task"
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}s"
    words = {
        "object": "mapping",
        "string": "text",
        "boolean": "`true` or `false`",
        "integer": "whole number",
        "number": "number",
    }
    return words[schema["type"]] + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    words = (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "above {}"),
        ("maximum", "at most {}"),
        ("exclusiveMaximum", "below {}"),
    )
    said = [text.format(f"{schema[word]:g}") for word, text in words if word in schema]
    return f", {', '.join(said)}" if said else ""


def _default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    return f"default `{value}`" if value not in (None, [], {}, "") else ""


def _flags() -> Iterator[str]:
    by_setting: dict[str, list[str]] = {}
    for flag, known in FLAGS.items():
        by_setting.setdefault(known.setting, []).append(flag)
    for setting, flags in sorted(by_setting.items(), key=lambda pair: max(pair[1], key=len)):
        many = "yes" if FLAGS[flags[0]].many else ""
        yield f"| {', '.join(f'`{flag}`' for flag in flags)} | `{setting}` | {many} |"


if __name__ == "__main__":
    PAGE.write_text(page())
