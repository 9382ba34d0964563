"""Sample slides: what can be opened when the user has no slide at hand, best first."""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.folders import cache_folder
from napari_mtlpath.units import MicronsPerPixel

SMEAR_MODEL = "smear-mecds"
TISSUE_MODEL = "tissue-mecds"

CMU_FILE = "CMU-1-Small-Region.svs"
CMU_URL = f"https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/{CMU_FILE}"
CMU_SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"
CELLS_FILE = "pbc_wbcatt_trainval_96.zip"

ASSUMED_IHC_MPP = MicronsPerPixel(0.5)  # an ordinary 20x scan; the image's source states no pixel size
IHC_REVISION = 1
SMEAR_REVISION = 1
SMEAR_SEED = 20
IHC_TILE_PX = 128
SMALLEST_LEVEL_PX = 128


class SampleUnavailable(OSError):
    """A sample slide cannot be had here; the message says why and what else to do."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A slide that comes with the program, lies beside it, or can be fetched.

    Attributes
    ----------
    name
        What users type.
    title
        What a person reads.
    detail
        What is on it and what is assumed about it, in a sentence or two.
    credit
        Source and licence.
    model
        Name of the slide model that shows it best.
    make
        Writes or fetches the file where it is not there yet and returns its path; see :meth:`path`.
    simulated
        Whether the slide was composed, from real cells.
    needs_internet
        Whether :meth:`path` has to fetch it.
    assumed_mpp
        Microns per pixel to assume, where the file states none; say on screen that it is assumed.
    """

    name: str
    title: str
    detail: str
    credit: str
    model: str
    make: Callable[[], Path]
    simulated: bool = False
    needs_internet: bool = False
    assumed_mpp: MicronsPerPixel | None = None

    def path(self) -> Path:
        """Return the slide's file, made or fetched on first use. May take a while: call it from a worker.

        Raises
        ------
        SampleUnavailable
            If it cannot be made here; the sentence says why.
        """
        return self.make()


def sample_slides() -> tuple[Sample, ...]:
    """Return the sample slides that can be had here, best first; nothing is made, read or fetched yet.

    Real data first (``MTLPATH_DATA`` or ``shared/data`` beside the checkout), then the slide that can be fetched, last
    the image that is always there.

    Examples
    --------
    >>> [sample.name for sample in sample_slides()][-1]
    'ihc'
    """
    data = find_data()
    cmu = _cmu(_local_cmu(data))
    smears = (_smear(data / CELLS_FILE),) if data is not None and (data / CELLS_FILE).is_file() else ()
    return (*smears, cmu, _ihc()) if cmu.needs_internet else (cmu, *smears, _ihc())


def sample(name: str) -> Sample:
    """Return the sample slide called `name`; raise ValueError naming the known ones."""
    known = sample_slides()
    for each in known:
        if each.name == name:
            return each
    raise ValueError(f"There is no sample slide {name!r} here. Known: {', '.join(each.name for each in known)}.")


def find_data() -> Path | None:
    """Return the folder of real data: ``MTLPATH_DATA``, or ``shared/data`` beside or above here, or None."""
    stated = os.environ.get("MTLPATH_DATA")
    if stated:
        return Path(stated) if Path(stated).is_dir() else None
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            candidate = folder / "shared" / "data"
            if (candidate / "wsi").is_dir() or (candidate / CELLS_FILE).is_file():
                return candidate
    return None


def _cmu(local: Path | None) -> Sample:
    return Sample(
        name="cmu-1-small-region",
        title="CMU-1-Small-Region: H&E, Aperio",
        detail="A region of a real H&E slide, 2220 x 2967 pixels at 0.499 microns.",
        credit="OpenSlide test data, Carnegie Mellon University; CC0-1.0",
        model=TISSUE_MODEL,
        make=_fetch_cmu if local is None else lambda: local,
        needs_internet=local is None,
    )


def _local_cmu(data: Path | None) -> Path | None:
    candidates = [data / "wsi" / CMU_FILE, data / CMU_FILE] if data is not None else []
    return next((path for path in [*candidates, _samples_folder() / CMU_FILE] if path.is_file()), None)


def _fetch_cmu() -> Path:
    import pooch

    try:
        return Path(pooch.retrieve(CMU_URL, known_hash=f"sha256:{CMU_SHA256}", fname=CMU_FILE, path=_samples_folder()))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
        raise SampleUnavailable(
            f"{CMU_FILE} could not be fetched from openslide.cs.cmu.edu ({type(error).__name__}). "
            "Connect to the internet, open a slide of your own, or use the sample 'ihc'."
        ) from error


def _smear(cells: Path) -> Sample:
    return Sample(
        name="smear",
        title="Blood smear, simulated from real cells",
        detail=(
            "A simulated slide: 36 x 36 real white blood cells that no model was trained on, among them 2 % basophils. "
            "Its pixel size of 0.375 microns is nominal."
        ),
        credit="Cells: PBC, Acevedo et al. 2020, CC BY 4.0; labels: WBCAtt, Tsutsui et al. 2023, MIT",
        model=SMEAR_MODEL,
        make=lambda: _compose_smear(cells),
        simulated=True,
    )


def _compose_smear(archive: Path) -> Path:
    from napari_mtlpath.simulation.cells import load_cells
    from napari_mtlpath.simulation.smear import Composer, SmearSpec
    from napari_mtlpath.simulation.smear_file import truth_path, write_smear

    path = _samples_folder() / f"simulated-smear-{SMEAR_REVISION}.tiff"  # the name says it wherever the slide is shown
    if path.is_file() and truth_path(path).is_file():
        return path
    try:
        cells = load_cells(archive).validation()
        smear = Composer(cells).compose(
            SmearSpec(witness_rate=0.02, neutrophil_share=0.4, vacuolated_share=0.1, seed=SMEAR_SEED)
        )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SampleUnavailable(
            f"The smear cannot be composed from {archive.name}: {error} Get the archive again, or use the sample 'ihc'."
        ) from error
    return write_smear(path, cells, smear)


def _ihc() -> Sample:
    return Sample(
        name="ihc",
        title="Colonic glands: DAB and hematoxylin",
        detail=(
            "A real immunohistochemistry image of 512 x 512 pixels (FHL2 brown, nuclei blue). Its source states no "
            f"pixel size: {ASSUMED_IHC_MPP} microns per pixel are assumed."
        ),
        credit="scikit-image's immunohistochemistry image, Center for Microscopy And Molecular Imaging (CMMI); "
        "no known copyright restrictions",
        model=TISSUE_MODEL,
        make=_write_ihc,
        assumed_mpp=ASSUMED_IHC_MPP,
    )


def _write_ihc() -> Path:
    from skimage.data import immunohistochemistry

    path = _samples_folder() / f"ihc-{IHC_REVISION}.tiff"
    if not path.is_file():
        with replacing(path) as temporary:
            _write_pyramid(temporary, immunohistochemistry())
    return path


def _write_pyramid(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a tiled, lossless pyramid of an RGB image [y, x, 3]; no resolution, because none is known."""
    from tifffile import TiffWriter

    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * SMALLEST_LEVEL_PX:
        levels.append(_halved(levels[-1]))
    with TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level,
                photometric="rgb",
                compression="zlib",
                tile=(IHC_TILE_PX, IHC_TILE_PX),
                subfiletype=1 if number else 0,
                metadata=None,
            )


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (side // 2 * 2 for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _samples_folder() -> Path:
    folder = cache_folder() / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
