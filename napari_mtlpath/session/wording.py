"""Slides, results and paces in words and numbers: the one place where the screen's sentences are made."""

from typing import TYPE_CHECKING, assert_never

from napari_mtlpath.evaluation.class_sets import set_words
from napari_mtlpath.session.overlay import ColourScale, OverlayKind
from napari_mtlpath.slides.resolution import ResolutionSource
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Regression, Segmentation

if TYPE_CHECKING:
    from napari_mtlpath.inference.live import LiveReport
    from napari_mtlpath.inference.results import SlideResult, TaskResult
    from napari_mtlpath.slides.slide import Slide

RESEARCH_USE = "Research use only. Not for diagnosis."

KIND_TITLES = {
    OverlayKind.ROUTING: "Routing",
    OverlayKind.ATTENTION: "Attention",
    OverlayKind.PREDICTION: "Prediction",
    OverlayKind.CLASSES: "Classes",
    OverlayKind.PROBABILITY: "Probability",
    OverlayKind.CROSS_TASK: "Cross-task",
}

MICRONS_PER_MILLIMETRE = 1000.0


def size_words(slide: "Slide") -> str:
    """Return the size of a slide in pixels and, where its scale is known, in millimetres (width x height)."""
    pixels = f"{slide.width:,} x {slide.height:,} px"
    mpp = slide.resolution.mpp
    if mpp is None:
        return pixels
    height, width = (
        side * um / MICRONS_PER_MILLIMETRE for side, um in zip((slide.height, slide.width), mpp, strict=True)
    )
    return f"{pixels} ({width:.3g} x {height:.3g} mm)"


def format_words(slide: "Slide") -> str:
    """Return the kind of a slide file as a name."""
    kind = slide.facts.format.replace("-", " ")
    return kind[:1].upper() + kind[1:]


def level_words(slide: "Slide") -> str:
    """Return how many levels the file stores and how many are made while viewing."""
    stored = sum(level.stored for level in slide.levels)
    made = len(slide.levels) - stored
    return f"{stored} in the file" + (f", {made} made while viewing" if made else "")


def source_words(slide: "Slide") -> str:
    """Return where the resolution of a slide came from, as one sentence."""
    resolution = slide.resolution
    match resolution.source:
        case ResolutionSource.FILE:
            said = "From the file."
        case ResolutionSource.USER:
            said = "Typed by you."
        case ResolutionSource.REMEMBERED:
            said = "Remembered from before."
        case ResolutionSource.ASSUMED:
            said = "Assumed."
        case ResolutionSource.UNKNOWN:
            said = "Not known."
        case _:
            assert_never(resolution.source)
    return f"{said} {resolution.detail}".strip()


def unreadable_words(tiles: int) -> str:
    """Return how many tiles of a slide could not be read, or an empty text where all could."""
    if not tiles:
        return ""
    noun = "tile of the file was" if tiles == 1 else "tiles of the file were"
    return f"{tiles:,} {noun} unreadable: hatched on screen and kept from the model."


def task_title(task: AnyTask) -> str:
    """Return what a person calls a task."""
    return task.title or task.name.replace("_", " ").capitalize()


def scope_words(result: "SlideResult") -> str:
    """Return which part of the slide a result is about: ``n of N tissue tiles``, and at which level it holds."""
    level = "slide-level" if result.complete else "region-level (partial)"
    if all(answer.scope != SLIDE for answer in result.tasks):  # such a model judges tiles and pixels, never the slide
        level = "all of the tissue" if result.complete else "a part of the tissue"
    words = f"{result.tiles_known:,} of {result.tiles_total:,} tissue tiles: {level}"
    return words + (f"; {result.unreadable:,} unreadable" if result.unreadable else "")


SLIDE, TILES = "slide", "tiles"
"""Values of :class:`napari_mtlpath.inference.results.Scope`, which comes with torch."""


def over_words(answer: "TaskResult", result: "SlideResult") -> str:
    """Return what an answer is a mean or a sum of; an empty text for one that is about the slide as a whole."""
    tiles = f"{result.tiles_known:,} of {result.tiles_total:,} tiles"
    if answer.scope == SLIDE:
        return ""
    if answer.scope == TILES:
        return f"Mean over {tiles}"
    if answer.areas_mm2:
        return f"Of {area_words(sum(answer.areas_mm2))} in {tiles}"
    return f"Mean over the pixels of {tiles}"


def area_words(mm2: float) -> str:
    """Return an area with its unit.

    Examples
    --------
    >>> area_words(1.234), area_words(0.0123)
    ('1.23 mm²', '0.0123 mm²')
    """
    return f"{mm2:.3g} mm²"


def value_words(answer: "TaskResult") -> str:
    """Return a task's answer: the word that it deserves, and the number; files keep numbers beyond the task's range."""
    task = answer.task
    if isinstance(task, Segmentation):
        return f"{sum(answer.class_values[1:]):.1%} of area"  # all but the background; each class has its own line
    if isinstance(task, Regression | PixelRegression):
        return "no value" if answer.value is None else _measured(answer.value, task)
    if task.is_binary:
        return f"no {answer.word}" if answer.value is None else f"{answer.word} {answer.value:.2f}"
    if not answer.class_values:
        return f"no {answer.word}"
    first = max(range(len(task.classes)), key=lambda index: answer.class_values[index])
    return f"{task.classes[first]}: {answer.word} {answer.class_values[first]:.2f}"


def possible_words(answer: "TaskResult") -> str:
    """Return which classes remain possible at the card's coverage, or an empty text where it promises none."""
    if answer.possible is None:
        return ""
    return set_words(answer.possible.names, coverage=answer.possible.coverage)


def end_words(task: AnyTask) -> tuple[str, str] | None:
    """Return what the empty and the full bar of a task mean; None for tasks with more than two classes."""
    if isinstance(task, Segmentation):
        return None
    if isinstance(task, Regression | PixelRegression):
        form = ".0%" if task.unit.split(" ")[0] == "share" else "g"
        return format(task.low, form), format(task.high, form)
    return (task.classes[0], task.classes[1]) if task.is_binary else None


def fraction(answer: "TaskResult") -> float:
    """Return how far the bar of an answer is filled, 0 to 1."""
    task = answer.task
    if isinstance(task, Classification):
        shown = answer.value if task.is_binary else max(answer.class_values, default=0.0)
        return min(max(shown or 0.0, 0.0), 1.0)
    if answer.value is None or isinstance(task, Segmentation):
        return 0.0
    return min(max((answer.value - task.low) / (task.high - task.low), 0.0), 1.0)


DEVICES = {"cpu": "the CPU", "cuda": "the GPU (CUDA)", "mps": "the GPU (MPS)"}
"""What a person calls torch's devices."""


def pace_words(report: "LiveReport") -> str:
    """Return what the analysis is doing: state, device, tiles per second, tiles waiting."""
    state = str(report.state).capitalize()
    device = DEVICES.get(report.device.partition(":")[0], report.device)
    words = [f"{state} on {device}" if device else state]
    if report.state == "running":
        words.append(f"{report.tiles_per_second:.3g} tiles/s")
        words.append(f"{report.queue:,} waiting")
    return " · ".join(words)


def view_words(report: "LiveReport") -> str:
    """Return how much of the visible field is known."""
    return f"In view: {report.visible_known:,} of {report.visible_total:,} tiles"


def threshold_words(threshold: float, kind: OverlayKind, scale: ColourScale) -> str:
    """Return what the threshold hides."""
    if threshold <= scale.low:
        if kind in (OverlayKind.ROUTING, OverlayKind.ATTENTION):
            return "Tiles above the average are coloured."
        hidden = "No tile" if kind is OverlayKind.PREDICTION else "Nothing"
        return f"{hidden} is hidden; low values are faint."
    if kind not in (OverlayKind.ROUTING, OverlayKind.ATTENTION):
        what = "tiles" if kind is OverlayKind.PREDICTION else "places"
        return f"Only {what} of at least {threshold:.2f} {scale.unit}".rstrip() + " are coloured."
    return f"Only tiles of at least {threshold:.2g} times the average are coloured."


def number_words(value: float, scale: ColourScale) -> str:
    """Return a heatmap's raw value with its unit."""
    return f"{value:.3g} {scale.unit}".rstrip()


def class_bars(answer: "TaskResult") -> list[tuple[str, float]]:
    """Return each class with its share, of segmentations with its area too; nothing for tasks of fewer classes."""
    task = answer.task
    if isinstance(task, Segmentation):
        rows = zip(task.classes, answer.class_values, answer.areas_mm2, strict=True)
        return [(f"{name} {share:.1%}, {area_words(area)}", share) for name, share, area in rows]
    if isinstance(task, Regression | PixelRegression) or task.is_binary:
        return []
    return [
        (f"{name} {share:.2f}", min(max(share, 0.0), 1.0))
        for name, share in zip(task.classes, answer.class_values, strict=False)
    ]


def waiting_words(*, slide: bool, model: bool, scale: bool) -> str:
    """Return what has to happen before there are predictions, or an empty text where nothing is missing."""
    if not model:
        return "Choose a model and press Load. It answers while you look around."
    if not slide:
        return "Open a slide: the model starts on it at once."
    if not scale:
        return "Type the pixel size in the Slide section: the model starts then."
    return ""


def _measured(value: float, task: Regression | PixelRegression) -> str:
    """Return a measured value with its unit, shares as per cent; beyond the task's range there are no numbers."""
    kind, _, rest = task.unit.partition(" ")
    if kind == "share":
        return f"{min(max(value, task.low), task.high):.0%} {rest}".rstrip()
    if value < task.low:
        return f"{task.low:g} {task.unit}".rstrip() + " or less"
    if value > task.high:
        return f"{task.high:g} {task.unit}".rstrip() + " or more"
    return f"{value:.3g} {task.unit}".rstrip()
