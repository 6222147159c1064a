"""Versions of Python that a recipe asks for, held against the packaging library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from launcher.recipes.python_versions import clauses, suits

NUMBERS = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@st.composite
def specifiers(draw: st.DrawFn) -> str:
    operator = draw(st.sampled_from(["~=", "==", "!=", "<=", ">=", "<", ">"]))
    release = draw(NUMBERS.filter(lambda parts: operator != "~=" or len(parts) > 1))
    star = operator in ("==", "!=") and draw(st.booleans())
    return f"{operator}{draw(st.sampled_from(['', ' ']))}{'.'.join(map(str, release))}{'.*' if star else ''}"


@given(st.lists(specifiers(), min_size=1, max_size=3), NUMBERS)
def test_it_decides_as_the_packaging_library_does(parts: list[str], version: list[int]) -> None:
    text = ", ".join(parts)
    expected = SpecifierSet(text).contains(".".join(map(str, version)))
    assert suits(text, tuple(version)) is expected


@pytest.mark.parametrize("text", ["3.11", ">=", "~=3", ">=3.*", "=>3", "", ">=3.11,", ">=3.11rc1"])
def test_what_is_no_specifier(text: str) -> None:
    with pytest.raises(ValueError, match=r"no version specifier|goes with|needs two"):
        clauses(text)
