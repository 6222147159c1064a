"""`evaldock sync`: what is told of entries that fail and definitions with mistakes."""

from __future__ import annotations

from commands.conftest import Place
from harness_images import framework, lay_out, path_of, push
from image_parts import Layer, Layout, member, tar
from running import evaldock


def test_when_everything_fails_alike_the_exit_code_says_how(two: Place) -> None:
    two.registry.inject(status=503, times=20)
    assert two.sync().code == 4
    two.registry.reset()
    two.registry.inject(status=404, times=20)
    assert two.sync().code == 3


def test_what_is_recorded_of_a_failure_names_no_folder_of_this_machine(place: Place) -> None:
    place.write(maths="oci:images/nowhere")
    assert place.sync().code == 3
    assert str(place.root) not in (place.root / "ir" / "index.yaml").read_text()


def test_two_entries_must_not_hold_one_harness(two: Place) -> None:
    push(two.registry, "again", {path_of("maths"): framework("maths", "x")})
    two.write("maths", "code", "again")
    before = two.files()
    ran = two.sync()
    assert ran.code == 2
    assert "harness 'maths' stands in two entries: 'maths' and 'again'" in ran.err
    assert two.files() == before


def test_every_mistake_of_a_framework_file_is_told(two: Place) -> None:
    push(two.registry, "code", {path_of("code"): b"framework: {name: 7}\nevaluations: []\n"})
    ran = two.sync()
    assert ran.code == 1
    for part in ("framework.name", "framework.pkg_name", "defaults"):
        assert f"/opt/metadata/code/framework.yml: {part}: " in ran.err
    assert two.codes() == ["entry-stale"]


def test_unknown_keys_are_warned_about_and_refused_when_strict(place: Place) -> None:
    push(place.registry, "maths", {path_of("maths"): framework("maths", "algebra", tempratur=1)})
    place.write("maths")
    ran = place.sync()
    assert ran.code == 0
    assert (
        "maths: /opt/metadata/maths/framework.yml: defaults.config.params.tempratur: unknown key" in ran.err
    )
    strict = place.sync("--strict")
    assert strict.code == 2
    assert "defaults.config.params.tempratur: unknown key" in strict.err
    assert place.tasks() == ["maths.algebra"]


def test_a_command_that_reaches_for_python_is_refused(place: Place) -> None:
    command = "{{ config.__class__.__mro__ }}"
    push(place.registry, "maths", {path_of("maths"): framework("maths", "algebra", command=command)})
    place.write("maths")
    ran = place.sync()
    assert ran.code == 2
    assert "/opt/metadata/maths/framework.yml" in ran.err
    assert not (place.root / "ir" / "maths.yaml").exists()


def test_several_framework_files_with_mistakes_are_told_together(place: Place) -> None:
    files = {path_of(name): b"framework: {}\n" for name in ("one", "two")}
    lay_out(place.root / "image", files)
    place.write(both="oci:image")
    ran = place.sync()
    assert ran.code == 2
    assert "/opt/metadata/one/framework.yml: framework.name: missing" in ran.err
    assert "/opt/metadata/two/framework.yml: framework.name: missing" in ran.err


def test_a_catalog_that_cannot_be_written_is_told(two: Place) -> None:
    two.push("maths", "algebra")
    ir = two.root / "ir"
    moved = two.root / "elsewhere"
    ir.rename(moved)
    ir.write_text("not a folder")
    ran = two.sync()
    assert ran.code == 5
    assert "the IR can't be written" in ran.err
    assert ir.read_text() == "not a folder"


def test_hostile_text_reaches_no_terminal(place: Place) -> None:
    layout = Layout(place.root / "image")
    text = framework("maths", "algebra").replace(b"About algebra.", rb"About \u001b[2J\u202e algebra.")
    layout.image(Layer.plain(tar(member(path_of("maths"), text))))
    place.write(maths="oci:image")
    place.sync()
    for command in (("ls", "tasks"), ("show", "algebra"), ("ls", "tasks", "--json")):
        shown = evaldock(*command, "--catalog", place.root).out
        assert "\x1b[2J" not in shown
        assert "\u202e" not in shown
        assert "[2J" in shown
