"""Fixtures that every test may use: shape checks at run time, isolated folders, synthetic and real slides."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

os.environ.setdefault("NAPARI_CONFIG", str(Path(tempfile.mkdtemp(prefix="napari-config-")) / "settings.yaml"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)
install_import_hook(
    [
        "napari_mtlpath.nn",
        "napari_mtlpath.balancing",
        "napari_mtlpath.encoders",
        "napari_mtlpath.training",
        "napari_mtlpath.inference",
        "napari_mtlpath.evaluation",
    ],
    "beartype.beartype",
)


def _data_folder() -> Path | None:
    candidates = [os.environ.get("MTLPATH_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    return next((Path(c) for c in candidates if c and Path(c).is_dir()), None)


@pytest.fixture(autouse=True)
def isolated_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep caches, memories and user models of a test out of the user's folders."""
    home = tmp_path_factory.mktemp("mtlpath-home")
    monkeypatch.setenv("MTLPATH_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real slides and labels; the test is skipped, with the path, where it is absent."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("No real data: looked at MTLPATH_DATA and at shared/data beside the checkout")
    return folder


@pytest.fixture(scope="session")
def cmu_svs(real_data: Path) -> Path:
    """The real one-level Aperio slide CMU-1-Small-Region."""
    return real_data / "wsi" / "CMU-1-Small-Region.svs"
