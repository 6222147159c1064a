"""Pages of results: boards by identity, plots with numbers beside them, records, models, comparisons."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import record_files, store
from catalog.models import Catalog
from catalog.records import Metric, Record
from generator.site.results import plots
from generator.site.results.board import boards
from measured import HOSTILE, measured, publish_some
from site_builds import STRICT, sphinx_build
from synthetic import make_catalog


def build(root: Path, folder: Path) -> Path:
    built = sphinx_build(folder, root, *STRICT)
    assert built.exit_code == 0, built.said
    return built.output


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_catalog(tmp_path_factory.mktemp("catalog") / "catalog", harnesses=2, tasks=4)
    publish_some(root)
    return build(root, tmp_path_factory.mktemp("site"))


def page_of(site: Path, pattern: str) -> str:
    (file,) = site.glob(f"task_catalog/{pattern}")
    return file.read_text()


def test_a_board_for_each_question_and_the_current_one_first(site: Path) -> None:
    page = page_of(site, "tasks/harness-000/math_00000.html")
    titles = [
        re.sub(r"<[^>]+>|\s+", " ", t).split() for t in re.findall(r"<h3 id=\"board.*?</h3>", page, re.S)
    ]
    assert titles[0] == ["accuracy"]
    assert titles[1] == ["accuracy", "partial:", "5", "samples"]
    assert titles[2] == ["accuracy", "outdated", "task"]
    first = page[: page.index("partial: 5 samples")]
    assert first.index(">org/a<") < first.index(">org/b<")
    assert "org/d" not in first


def test_plots_are_named_and_their_numbers_stand_in_the_table(site: Path) -> None:
    page = page_of(site, "tasks/harness-000/math_00000.html")
    for drawing in re.findall(r"<svg[^>]*ed-plot__svg.*?</svg>", page, re.S):
        named = re.search(r'role="img" aria-labelledby="(\S+) (\S+)"', drawing)
        assert named
        assert all(f'id="{one}"' in drawing for one in named.groups())
    assert "accuracy over time" in page
    assert ">0.9</td>" in page


def test_tables_have_their_data_beside_them(site: Path) -> None:
    (table,) = site.glob("task_catalog/tasks/harness-000/math_00000.results.csv")
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["model"] for row in rows[:3]] == ["org/a", HOSTILE, "org/b"]
    assert json.loads(table.with_suffix(".json").read_text())[0]["value"] == 0.9
    everything = json.loads((site / "task_catalog/models.json").read_text())
    assert len(everything) == 6


def test_a_record_says_where_it_comes_from_and_how_to_repeat_it(site: Path) -> None:
    page = page_of(site, "results/harness-000/math_00000/org-c-*/run-c.html")
    text = re.sub(r"<[^>]+>", "", page)
    assert "evaldock run harness-000.math_00000 --model-id org/c" in text
    assert "--backend docker" in text
    (exported,) = site.glob("task_catalog/results/harness-000/math_00000/org-c-*/run-c.eee.json")
    assert json.loads(exported.read_text())["evaluation_results"][0]["score_details"]["score"] == 1.0
    assert "partial: 5 samples" in text


def test_two_models_side_by_side_by_their_samples(site: Path) -> None:
    page = re.sub(r"\s+", " ", page_of(site, "compare/org-a-*..org-b-*.html"))
    assert "lower (100 pairs of samples)" in page
    assert "-0.7" in page


def test_text_of_records_is_shown_and_never_run(site: Path) -> None:
    for file in site.glob("task_catalog/**/*.html"):
        page = file.read_text()
        assert "<script>alert(" not in page, file
        assert 'href="javascript:' not in page, file
    assert "{{ 7*7 }}" in page_of(site, "tasks/harness-000/math_00000.html")


def test_pages_of_records_that_are_gone_go_too(tmp_path: Path) -> None:
    root = make_catalog(tmp_path / "catalog", harnesses=1, tasks=2)
    catalog = store.load(root)
    (file,) = record_files.write(root, measured(catalog, "org/a", 0.9))
    site = build(root, tmp_path / "site")
    assert list(site.glob("task_catalog/results/**/run-a.html"))
    file.unlink()
    build(root, tmp_path / "site")
    assert not list(site.glob("task_catalog/results/**/*.html"))
    assert "Results</h2>" not in page_of(site, "tasks/harness-000/math_00000.html")


def test_less_is_better_for_errors() -> None:
    catalog = Catalog(root="", mapping_sha256="", harnesses=())
    assert catalog.verified
    base = Record(
        harness="h", task="t", model="m", run="r", task_sha="s", params_sha="p", endpoint_type="chat",
        metrics=(Metric(name="wer", value=0.5),),
    )  # fmt: skip
    made = [replace(base, model="worse", metrics=(Metric(name="wer", value=0.7),)), base]
    (board,) = boards([record_files.Published(one, Path()) for one in made], ["s"])
    assert board.lower
    assert [row.one.record.model for row in board.rows] == ["m", "worse"]
    assert plots.dot_plot(board).dots[0].x < plots.dot_plot(board).dots[1].x
