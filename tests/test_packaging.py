"""What an installed copy must hold: the manifest, the model zoo, the command, and nothing that strays."""

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from this checkout with the hatchling that is installed: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def _run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT.parent)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_links_of_the_checkout_point_to_the_top_level_files() -> None:
    for name in ("napari.yaml", "models"):
        link = ROOT / "napari_mtlpath" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name
        assert link.resolve() == ROOT / name


def test_manifest_inside_the_installed_package_is_the_top_level_one() -> None:
    (entry,) = [e for e in entry_points(group="napari.manifest") if e.name == "napari-mtlpath"]
    assert entry.value == "napari_mtlpath:napari.yaml"
    folder = _run("import napari_mtlpath, pathlib; print(pathlib.Path(napari_mtlpath.__file__).parent)").strip()
    assert (Path(folder) / "napari.yaml").read_bytes() == (ROOT / "napari.yaml").read_bytes()


def test_napari_finds_the_plugin_by_its_name() -> None:
    found = _run(
        "from npe2 import PluginManager; m = PluginManager(); m.discover(); "
        "print(m.get_manifest('napari-mtlpath').display_name)"
    )
    assert found.strip() == "MTLPath"


def test_wheel_holds_manifest_and_models_inside_the_package(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    models = {path for path in (ROOT / "models").rglob("*") if path.is_file()}
    wanted = {f"napari_mtlpath/models/{path.relative_to(ROOT / 'models').as_posix()}" for path in models}
    assert wanted <= names
    assert wheel.read("napari_mtlpath/napari.yaml") == (ROOT / "napari.yaml").read_bytes()


def test_wheel_holds_every_module_and_nothing_that_strays(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"napari_mtlpath"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "napari_mtlpath").rglob("*.py")}
    assert modules <= names
    assert "napari_mtlpath/py.typed" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_wheel_names_the_command_and_the_manifest(wheel: zipfile.ZipFile) -> None:
    (entries,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(entries).decode()
    assert "mtlpath = napari_mtlpath.cli.main:app" in text
    assert "napari-mtlpath = napari_mtlpath:napari.yaml" in text


def test_base_install_brings_no_qt_binding(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    lines = wheel.read(metadata).decode().splitlines()
    base = [line.lower() for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert base
    assert not [line for line in base if any(qt in line for qt in ("pyside", "pyqt5", "pyqt6", "napari[", "openslide"))]


def test_no_stray_package_of_this_project_is_importable() -> None:
    spot = "import importlib.util as u; print([n for n in ('models', 'tests', 'benchmarks', 'docs') if u.find_spec(n)])"
    assert _run(spot).strip() == "[]"


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("napari_mtlpath", ("numpy", "torch", "napari", "qtpy")),
        ("napari_mtlpath.slides.source", ("torch", "timm", "napari", "qtpy", "PySide6", "dask", "tifffile")),
        ("napari_mtlpath.plugins", ("numpy", "torch")),
        ("napari_mtlpath.cli.main", ("torch", "timm", "napari", "qtpy", "PySide6", "tifffile", "numpy")),
    ],
)
def test_importing_a_room_does_not_load_what_it_does_not_need(module: str, forbidden: tuple[str, ...]) -> None:
    loaded = _run(f"import sys, {module}; print([n for n in {forbidden!r} if n in sys.modules])")
    assert loaded.strip() == "[]"


def test_opening_a_slide_loads_neither_torch_nor_qt(cmu_svs: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from napari_mtlpath.slides.open import open_slide; "
        f"open_slide(Path({str(cmu_svs)!r})).close(); "
        "print([n for n in ('torch', 'timm', 'napari', 'qtpy', 'PySide6') if n in sys.modules])"
    )
    assert _run(code).strip() == "[]"


def test_version_of_the_installed_package_is_that_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert distribution("napari-mtlpath").version == project["version"]


def test_constraints_name_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert not [line for line in pins if "@" in line or "://" in line or "==" not in line]
