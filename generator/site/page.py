"""A page that is no document: what it is called, what it is made from, what lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Makers = Mapping[str, Callable[[], bytes]]


@dataclass(frozen=True, slots=True)
class Page:
    """`key` changes whenever `render`, which gives the body, would give another. `parents` are pages with
    their titles, outermost first. `beside`: what the files next to it hold, by address, made with it.
    `about`: a sentence for search engines."""

    name: str
    key: str
    title: str
    parents: tuple[tuple[str, str], ...]
    render: Callable[[], str]
    beside: Makers
    about: str = ""
