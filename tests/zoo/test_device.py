import pytest
import torch

from napari_mtlpath.zoo.device import pick_device


def test_without_an_accelerator_the_cpu_is_taken_and_the_reason_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    found = pick_device("auto")
    assert (found.device.type, found.reason) == ("cpu", "CPU: torch sees no CUDA or MPS device")


def test_cuda_is_preferred_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    found = pick_device()
    assert (found.device.type, found.reason) == ("cuda", "CUDA: H200")


def test_mps_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").device.type == "mps"


def test_a_wish_is_granted() -> None:
    assert pick_device("cpu").reason == "CPU: as asked for"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="torch sees no device 'cuda:1' here"):
        pick_device("cuda:1")


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a device such as"):
        pick_device("gpu please")
