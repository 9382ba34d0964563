"""What the terminal is told."""

import json

import pytest

from napari_mtlpath.cli.console import add_row, console, one_line, print_json, printable, table


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\rb", "a\x07b", "a\u202eb"])
def test_no_name_can_move_the_cursor(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown[0] == "a"
    assert shown[-1] == "b"


def test_a_name_that_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("Slide")
    add_row(made, "[red]:smile:[/red].svs")
    console().print(made)
    assert "[red]:smile:[/red].svs" in capsys.readouterr().out


def test_json_never_holds_a_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), 1.5, {"b": float("inf")}], "c": "é"})
    said = capsys.readouterr().out
    assert json.loads(said) == {"a": [None, 1.5, {"b": None}], "c": "é"}
    assert "é" in said


def test_an_error_of_the_system_names_the_file() -> None:
    assert one_line(PermissionError(13, "Permission denied", "/a/b.svs")) == "Permission denied: /a/b.svs"
