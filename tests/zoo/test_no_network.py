import socket
from pathlib import Path

import pytest

from napari_mtlpath.encoders.load import encoder_names, find_encoder_card, load_encoder
from napari_mtlpath.samples import sample, sample_slides
from napari_mtlpath.zoo.load import broken_models, list_models


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        pytest.fail("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_listing_and_loading_what_is_here_opens_no_connection(no_sockets, isolated_folders: Path) -> None:
    list_models()
    broken_models()
    assert [find_encoder_card(name).name for name in encoder_names()] == list(encoder_names())
    assert load_encoder("colour-stats").features == 42
    sample_slides()
    assert sample("ihc").path().is_file()
