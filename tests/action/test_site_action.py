"""`action/site`: the pages of any repository with a catalog, and no link in them that leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from action.composite import Runner
from action.conftest import ACTION
from generator.page_links import Broken, broken_links

pytestmark = pytest.mark.service("node")


def test_a_mapping_alone_becomes_a_site(runner: Runner) -> None:
    ran = runner.action(ACTION / "site", {"title": "Our evaluations", "output": "public"})
    assert ran.outcome == "success", ran.log
    site = Path(ran.outputs["path"])
    assert site == runner.workspace / "public"
    assert "Our evaluations" in (site / "index.html").read_text()
    assert (site / "task_catalog" / "tasks" / "quickcheck" / "chat.html").is_file()
    assert (ran.annotations, ran.commands) == ([], [])


def test_a_warning_fails_unless_it_may_pass(runner: Runner) -> None:
    source = runner.workspace / "docs"
    source.mkdir()
    (source / "conf.py").write_text(
        "extensions = ['generator.site']\nproject = 'x'\nevaldock_catalog = '..'\nexclude_patterns = ['no']\n"
    )
    (source / "index.md").write_text("# Ours\n\n[gone](gone.md)\n")
    strict = runner.action(ACTION / "site", {"source": "docs"})
    assert strict.outcome == "failure"
    assert "the site was not built, or not without warnings" in strict.said("error")[0]
    lax = runner.action(ACTION / "site", {"source": "docs", "strict": "false", "check-links": "false"})
    assert lax.outcome == "success", lax.log


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="sub/page.html#here">x</a> <a href="sub/page.html#gone">x</a> <a href="sub/">x</a>'
        '<img src="gone.png"> <a href="https://elsewhere.example/x">x</a> <a href="mailto:a@b">x</a>'
        '<a href="sub/page.html#q=x">x</a> &lt;a href="shown.html"> <a href="/">x</a> <a href="#top">x</a>'
        '<a href="a%20b.html">x</a> <p id="top">'
    )
    (tmp_path / "a b.html").write_text("")
    (tmp_path / "sub" / "page.html").write_text('<p id="here"><a href="../../out.html">x</a>')
    (tmp_path / "sub" / "index.html").write_text("")
    assert broken_links(tmp_path) == [
        Broken("index.html", "sub/page.html#gone", "there is no place 'gone' in sub/page.html"),
        Broken("index.html", "gone.png", "leads nowhere"),
        Broken("sub/page.html", "../../out.html", "leads out of the site"),
    ]
