"""The pages of results: one for each record, each model, each pair of models, and the list of models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from catalog import exporters
from catalog.comparison import row_data
from catalog.csv_text import csv_file
from catalog.record_files import Published
from generator.site.addresses import ROOT
from generator.site.fingerprints import fingerprint, of_our_code
from generator.site.page import Makers, Page
from generator.site.results import shown
from generator.site.results.section import results_of
from generator.site.results.shown import MODELS, model_page, pair_page, record_page
from generator.site.text import plain, shorten

if TYPE_CHECKING:
    from catalog.models import Harness, Task
    from generator.site.pages import Site


def result_pages(site: Site) -> Iterator[Page]:
    results = site.results
    catalog_page = (f"{ROOT}/index", "Task catalog")
    models_page = (MODELS, "Models")
    everything = fingerprint([one.record for one in results.published], site.settings, of_our_code())
    yield Page(MODELS, everything, "Models", (catalog_page,), partial(_models, site), _all_beside(site))
    for model in results.models:
        rows = shown.model_rows(results.of_model(model))
        page = model_page(model)
        yield Page(
            page,
            everything,
            _title(model),
            (catalog_page, models_page),
            partial(_model, site, model, rows),
            _beside(page, rows, shown.MODEL_COLUMNS),
        )
    for first, second in results.pairs():
        page = pair_page(first, second)
        title = f"{_title(first)} and {_title(second)}"
        render = partial(_pair, site, first, second)
        yield Page(
            page, everything, title, (catalog_page, models_page), render, _pair_beside(site, first, second)
        )
    for one in results.published:
        page = record_page(one)
        title = f"{one.record.task_id}: {_title(one.record.model)}"
        parents = (catalog_page, models_page, (model_page(one.record.model), _title(one.record.model)))
        yield Page(page, everything, title, parents, partial(_record, site, one), _record_beside(one))


def task_beside(site: Site, harness: Harness, task: Task) -> Makers:
    boards = site.results.boards(harness, task)
    if not boards:
        return {}
    return _beside(results_of(site.addresses.task(task)), list(shown.board_rows(boards)), shown.BOARD_COLUMNS)


def _models(site: Site) -> str:
    results = site.results
    listed = []
    for model in results.models:
        newest = results.of_model(model)
        ended = max((one.record.ended or "" for one in newest), default="")
        listed.append({"model": model, "tasks": len(newest), "ended": ended})
    return site.render("models", MODELS, models=listed, files=_files(MODELS), model_page=model_page)


def _model(site: Site, model: str, rows: Sequence[Mapping[str, Any]]) -> str:
    others = [
        (second if first == model else first, pair_page(first, second))
        for first, second in site.results.pairs()
        if model in (first, second)
    ]
    page = model_page(model)
    return site.render(
        "model",
        page,
        model=model,
        rows=rows,
        others=others,
        files=_files(page),
        task_pages=site.addresses.tasks,
    )


def _pair(site: Site, first: str, second: str) -> str:
    found = site.results.compare(first, second)
    tops: dict[str, Mapping[str, Any]] = {}
    for row in map(row_data, found.rows):
        tops.setdefault(row["task"], row)
    page = pair_page(first, second)
    return site.render(
        "comparison",
        page,
        first=first,
        second=second,
        rows=list(tops.values()),
        only=((first, found.only_first), (second, found.only_second)),
        files=_files(page),
        task_pages=site.addresses.tasks,
    )


def _record(site: Site, one: Published) -> str:
    record = one.record
    task_page = site.addresses.tasks.get(record.task_id)
    harness = site.catalog.harness(record.harness)
    task = next((t for t in harness.tasks if t.id == record.task_id), None) if harness else None
    outdated = (
        harness is None or task is None or record.task_sha not in site.results.current_shas(harness, task)
    )
    page = record_page(one)
    return site.render(
        "record",
        page,
        record=record,
        metrics=shown.metric_rows(record),
        command=shown.again(record, "https://endpoint.example/v1"),
        params=json.dumps(record.params, indent=1, ensure_ascii=False),
        outdated=outdated,
        task_page=task_page,
        model_page=model_page,
        files=_files(page),
        eee=f"{page}.eee.json" if shown.every_eval_ever(record) is not None else None,
    )


def _record_beside(one: Published) -> Makers:
    page = record_page(one)
    columns = ("name", "value", "stderr", "count")
    metrics = [{name: getattr(metric, name) for name in columns} for metric in one.record.metrics]
    made: dict[str, Callable[[], bytes]] = {
        f"{page}.json": lambda: _json(shown.record_data(one)),
        f"{page}.csv": lambda: _csv(metrics, columns),
    }
    exported = shown.every_eval_ever(one.record)
    if exported is not None:
        made[f"{page}.eee.json"] = lambda: _json(exported)
    return made


def _pair_beside(site: Site, first: str, second: str) -> Makers:
    page = pair_page(first, second)

    def rows() -> list[dict[str, Any]]:
        return [row_data(row) for row in site.results.compare(first, second).rows]

    return {f"{page}.json": lambda: _json(rows()), f"{page}.csv": lambda: _csv(rows(), shown.PAIR_COLUMNS)}


def _all_beside(site: Site) -> Makers:
    return _beside(MODELS, list(exporters.rows(site.results.published)), exporters.COLUMNS)


def _beside(page: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Makers:
    return {f"{page}.json": lambda: _json(rows), f"{page}.csv": lambda: _csv(rows, columns)}


def _files(page: str) -> Mapping[str, str]:
    return {"json": f"{page}.json", "csv": f"{page}.csv"}


def _json(data: Any) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    return csv_file(
        columns, (["" if row[name] is None else str(row[name]) for name in columns] for row in rows)
    )


def _title(model: str) -> str:
    return shorten(plain(model), 80)
