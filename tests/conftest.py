"""Fixtures that every test may use: shape checks at run time, isolated folders, synthetic and real slides.

And how ``pytest -n`` deals out the tests: files whole, and all that need the screen to one process.
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# Each process has its own: the ones that pytest-xdist starts inherit the first one's environment.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="napari-config-")) / "settings.yaml")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of the processes that tests start
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the core to the other tests

SCREEN_FOLDERS = ("tests/viewer/", "tests/journeys/")
"""What has windows. They share one screen and its focus, so one process runs them one after the other."""


def pytest_configure(config: pytest.Config) -> None:
    """Check shapes at run time, where tests run: not in the process that only deals them out."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    import torch

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> "LoadScopeScheduling":
    """Deal out whole files, as their fixtures are made once per file; the screen's first, which take longest."""
    from xdist.scheduler import LoadScopeScheduling

    class OneScreen(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "screen" if nodeid.startswith(SCREEN_FOLDERS) else nodeid.split("::", 1)[0]

        def remove_node(self, node: object) -> str | None:
            """Take the work of a process that ended from it; a test that ended it is not given to the next one."""
            for unit in self.assigned_work[node].values():
                for nodeid, done in unit.items():
                    if not done:
                        unit[nodeid] = True
                        super().remove_node(node)
                        return nodeid
            return super().remove_node(node)

    config.option.loadscopereorder = False  # in the order below, not by their number of tests
    return OneScreen(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what needs the screen, where tests are dealt out: the others fill the gaps."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(SCREEN_FOLDERS))


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


@pytest.fixture(scope="session")
def known_smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder of the journeys on the demo's smear: the first one composes and encodes it, as a user's would."""
    return tmp_path_factory.mktemp("known-smear")


@pytest.fixture
def demo_smear(real_data: Path, isolated_folders: Path, known_smear: Path) -> Path:
    """The demo's smear, simulated from real cells; its embeddings are kept from one journey to the next."""
    from napari_mtlpath.samples import sample

    (isolated_folders / "cache").symlink_to(known_smear, target_is_directory=True)
    return sample("smear").path()
