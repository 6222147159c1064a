from __future__ import annotations

import pytest

from generator.site.addresses import address_part, address_parts


@pytest.mark.parametrize("name", ["mmlu", "AA_AIME_2024", "mbpp+", "a.b-c", "_x", "9", "x" * 150])
def test_a_safe_name_is_its_own_address(name: str) -> None:
    assert address_part(name) == name


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("../../etc/passwd", "etc-passwd-3754d6cb"),
        ("..", "x-5ec1f7e7"),
        ("a..b", "a-b-f62b4241"),
        ("日本語", "x-77710aed"),
        ("", "x-e3b0c442"),
        ("index", "index-1bc04b52"),
        ("CON.txt", "CON-txt-09c8cc7e"),
        ("-rf", "rf-686c39ac"),
        ("x\ny", "x-y-9ab9de25"),
    ],
)
def test_any_other_gets_one_from_its_hash(name: str, address: str) -> None:
    assert address_part(name) == address


def test_no_two_addresses_are_the_same_where_case_is_ignored() -> None:
    parts = address_parts(["case", "Case", "CASE", "other", "Other-Thing"])
    assert parts["case"] == "case"
    assert parts["other"] == "other"
    assert parts["Other-Thing"] == "Other-Thing"
    assert parts["Case"].startswith("Case-")
    assert parts["CASE"].startswith("CASE-")
    assert len({part.casefold() for part in parts.values()}) == 5


def test_an_address_does_not_depend_on_the_others() -> None:
    names = ["b", "a", "../x", "C"]
    assert address_parts(names) == {name: address_part(name) for name in names}
    assert address_parts(reversed(names))["../x"] == address_part("../x")
