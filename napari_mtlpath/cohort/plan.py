"""What of a cohort is still to be done: slides, their feature files and the ledger compared before anything starts."""

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

import h5py

from napari_mtlpath.cohort.claims import FOLDER
from napari_mtlpath.cohort.find import CohortSlide
from napari_mtlpath.cohort.ledger import Entry, Ledger, Status
from napari_mtlpath.cohort.recipe import Recipe, SlideJob
from napari_mtlpath.slides.fingerprint import fingerprint
from napari_mtlpath.slides.resolution import ResolutionMemory
from napari_mtlpath.tables.feature_files import SUFFIX

logger = logging.getLogger(__name__)

LOOKING_THREADS = 8
"""Files whose identity is looked at together: that waits for the storage, not for the processor."""

HALF_WRITTEN = f".*.partial-{'[0-9a-f]' * 32}{SUFFIX}"
"""Names that :func:`napari_mtlpath.files.replacing` gives to feature files before they are whole."""

Mpp = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A slide and its identity, or why it could not be read."""

    slide: CohortSlide
    fingerprint: str = ""
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done.

    Attributes
    ----------
    jobs
        Slides to extract, the largest files first so that no worker is left with one at the end.
    done, quarantined
        What is finished already, and what was found broken and is not tried again.
    notes
        Sentences that a user should know.
    """

    jobs: tuple[SlideJob, ...]
    done: tuple[Entry, ...]
    quarantined: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def look(slides: Sequence[CohortSlide]) -> Iterator[Looked]:
    """Yield each slide with its identity, in order; reads some hundred kilobytes of each."""
    with ThreadPoolExecutor(LOOKING_THREADS, thread_name_prefix="mtlpath-look") as pool:
        yield from pool.map(_look, slides)


def plan_extraction(
    looked: Iterable[Looked],
    recipe: Recipe,
    out: Path,
    *,
    ledger: Ledger,
    mpp: float | None = None,
    retry: bool = False,
) -> Plan:
    """Compare slides with what is in `out`.

    A slide is done when its feature file is there as the ledger has it, made from the same content by the same recipe.
    A file that the ledger does not know is taken over if its own attributes say the same.

    Parameters
    ----------
    looked
        The slides with their identities.
    recipe
        What is done to each.
    out
        The output folder.
    ledger
        Its ledger; files taken over and unreadable slides are entered.
    mpp
        Microns per pixel of all slides; goes before the table's and before remembered ones.
    retry
        Whether slides found broken earlier are tried again.

    Raises
    ------
    ValueError
        If `out` holds features of other slides by another encoder.
    """
    rows = list(looked)
    known = ledger.entries()
    _refuse_mixture(known, {_text(row.slide.target) for row in rows}, recipe.extractor, out)
    memory = ResolutionMemory()
    jobs: list[tuple[int, SlideJob]] = []
    ended: dict[Status, list[Entry]] = {status: [] for status in Status}
    for row in rows:
        job = _job(row, recipe, out, mpp=_mpp(row, mpp, memory))
        entry = _ended(row, job, known.get(_text(row.slide.target)), ledger=ledger, retry=retry)
        if entry is None:
            jobs.append((_size(row.slide.path), job))
        else:
            ended[entry.status].append(entry)
    return Plan(
        jobs=tuple(job for _, job in sorted(jobs, key=lambda pair: (-pair[0], pair[1].slide))),
        done=tuple(ended[Status.DONE]),
        quarantined=tuple(ended[Status.QUARANTINED]),
        notes=_notes(rows),
    )


def entry_of(job: SlideJob, out: Path, *, status: Status, **facts: str | int) -> Entry:
    """Return the ledger's entry about a job."""
    return Entry(
        target=_text(Path(job.target).relative_to(out.absolute())),
        slide=job.slide,
        fingerprint=job.fingerprint,
        recipe=job.key,
        encoder=job.recipe.extractor,
        status=status,
        **facts,  # type: ignore[arg-type]  # reason, tiles, unreadable, size
    )


def sweep(out: Path) -> None:
    """Remove what killed workers left behind: half-written files and claims. Only who holds the ledger may."""
    for path in (*out.rglob(HALF_WRITTEN), *(out / FOLDER).glob("*")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not there
        (out / FOLDER).rmdir()


def _look(slide: CohortSlide) -> Looked:
    try:
        return Looked(slide=slide, fingerprint=fingerprint(slide.path))
    except (OSError, ValueError) as error:
        return Looked(slide=slide, fault=f"{error}")


def _job(row: Looked, recipe: Recipe, out: Path, *, mpp: Mpp | None) -> SlideJob:
    target = _text(row.slide.target)
    mark = hashlib.sha256(target.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    root = out.absolute()
    return SlideJob(
        slide=str(row.slide.path),
        target=str(root / row.slide.target),
        fingerprint=row.fingerprint,
        mpp=mpp,
        recipe=recipe,
        claim=str(root / FOLDER / mark),
    )


def _ended(row: Looked, job: SlideJob, entry: Entry | None, *, ledger: Ledger, retry: bool) -> Entry | None:
    """Return the entry of a slide that needs no work, or None."""
    target = Path(job.target)
    out = Path(job.claim).parent.parent
    if row.fault:
        made = entry_of(job, out, status=Status.QUARANTINED, reason=row.fault)
        ledger.add(made)
        return made
    if entry is not None and (entry.fingerprint, entry.recipe) == (job.fingerprint, job.key):
        if entry.status is Status.QUARANTINED:
            return None if retry else entry
        if _size(target) == entry.size:
            return entry
    if entry is None and (tiles := _adoptable(target, job)) is not None:
        made = entry_of(job, out, status=Status.DONE, tiles=tiles, size=_size(target))
        ledger.add(made)
        return made
    return None


def _adoptable(target: Path, job: SlideJob) -> int | None:
    """Return the tiles of a feature file that says it is what the job would make, else None."""
    if not target.is_file():
        return None
    try:
        with h5py.File(target, "r") as file:
            said = (file.attrs.get("slide_fingerprint"), file.attrs.get("recipe"))
            return len(file["feats"]) if said == (job.fingerprint, job.key) else None
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        logger.info("%s is no feature file of an earlier run: %s", target.name, error)
        return None


def _mpp(row: Looked, given: float | None, memory: ResolutionMemory) -> Mpp | None:
    stated = given if given is not None else row.slide.mpp
    if stated is not None:
        return (stated, stated)
    remembered = memory.recall(row.fingerprint) if row.fingerprint else None
    return remembered.mpp if remembered is not None else None


def _refuse_mixture(known: Mapping[str, Entry], targets: set[str], encoder: str, out: Path) -> None:
    others = [entry for entry in known.values() if entry.status is Status.DONE and entry.target not in targets]
    foreign = next((entry for entry in others if entry.encoder != encoder and (out / entry.target).is_file()), None)
    if foreign is not None:
        raise ValueError(
            f"{out} holds features of other slides by encoder {foreign.encoder!r}, such as {foreign.target!r}; "
            f"expected {encoder!r}. Choose a folder per encoder."
        )


def _notes(rows: Sequence[Looked]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    notes = []
    for row in rows:
        if row.fingerprint and row.fingerprint in first:
            notes.append(f"{row.slide.name} has the same content as {first[row.fingerprint]}.")
        first.setdefault(row.fingerprint, row.slide.name)
    return tuple(notes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _text(path: PurePath) -> str:
    return path.as_posix()
