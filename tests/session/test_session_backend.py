"""What computes the encoder is chosen once per session."""

from typing import Any

import pytest

from napari_mtlpath.session.session import Session


def test_a_chosen_backend_holds_for_later_models(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def refuse(name: str, **wishes: Any) -> None:
        asked.append(wishes)
        raise ValueError(f"No model {name}.")

    monkeypatch.setattr("napari_mtlpath.zoo.any_model.load_any", refuse)
    session = Session()
    for wish in ({}, {"backend": "auto"}, {}, {"backend": "torch"}, {}):
        with pytest.raises(ValueError, match="No model a"):
            session.load_model("a", **wish)
    session.close()
    assert [wishes.get("backend") for wishes in asked] == [None, "auto", "auto", "torch", "torch"]
