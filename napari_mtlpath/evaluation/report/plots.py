"""Pictures of a report as SVG: curves, reliability, confusion, scatter, intervals of runs."""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mtlpath.evaluation.calibration_error import Reliability
from napari_mtlpath.evaluation.intervals import Interval
from napari_mtlpath.evaluation.metrics import Answers
from napari_mtlpath.evaluation.ranking import ranks
from napari_mtlpath.tasks import Classification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, GREY, RED = "#0b5fa5", "#8a8a8a", "#b3400f"
SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "napari-mtlpath", "font.family": "sans-serif", "font.size": 10}


def roc_curve(answers: Answers) -> str:
    """Return the ROC curve of each class with the operating point of a binary task."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        for name, (positive, scores) in zip(_names(answers), answers.one_against_rest(), strict=True):
            if positive.all() or not positive.any():
                continue
            ranked = ranks(positive, scores, np.ones((1, len(scores))))
            found = np.r_[0, np.cumsum(ranked.positives[0])] / positive.sum()
            alarms = np.r_[0, np.cumsum(ranked.negatives[0])] / (~positive).sum()
            axes.plot(alarms, found, label=name, **_line(answers))
        if answers.logits.shape[1] == 1 and len(answers.classes_present) == 2:
            called, truly = answers.chosen == 1, answers.truth == 1
            axes.plot((called & ~truly).sum() / (~truly).sum(), (called & truly).sum() / truly.sum(), "o", color=RED)
        _square(axes, "1 - specificity (false alarms)", "sensitivity (found)")

    return _svg(draw, legend=answers.logits.shape[1] > 1)


def precision_recall_curve(answers: Answers) -> str:
    """Return the precision-recall curve of each class; the dotted line is what blind guessing reaches."""

    def draw(axes: "Axes") -> None:
        for name, (positive, scores) in zip(_names(answers), answers.one_against_rest(), strict=True):
            if not positive.any():
                continue
            ranked = ranks(positive, scores, np.ones((1, len(scores))))
            found, wrong = np.cumsum(ranked.positives[0]), np.cumsum(ranked.negatives[0])
            precision = found / (found + wrong)
            steps = np.r_[0, found / positive.sum()]
            axes.plot(steps, np.r_[precision[0], precision], drawstyle="steps-pre", label=name, **_line(answers))
            if answers.logits.shape[1] == 1:
                axes.axhline(positive.mean(), color=GREY, linestyle=":", linewidth=1)
        _square(axes, "sensitivity (found)", "precision (right among the called)")

    return _svg(draw, legend=answers.logits.shape[1] > 1)


def reliability_diagram(bins: Reliability, *, calibrated: bool) -> str:
    """Return what was said against what happened; on the dotted line, both agree."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        errors = np.abs(np.stack([bins.happened - bins.low, bins.high - bins.happened]))
        known = np.isfinite(errors).all(0)
        axes.errorbar(
            bins.said[known], bins.happened[known], yerr=errors[:, known], fmt="o-", color=BLUE, capsize=2, linewidth=1
        )
        _square(axes, "said: " + ("probability" if calibrated else "score (uncalibrated)"), "happened: share")

    return _svg(draw)


def confusion_matrix(answers: Answers) -> str:
    """Return how many samples of each true class were called what; the shade is the share of the true class."""
    names = _classes(answers)
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (answers.truth.astype(np.int64), answers.chosen.astype(np.int64)), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    def draw(axes: "Axes") -> None:
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1.2, edgecolors="white", linewidth=1)
        for row, column in np.ndindex(*counts.shape):
            ink = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column + 0.5, row + 0.5, f"{counts[row, column]}", ha="center", va="center", color=ink)
        places = np.arange(len(names)) + 0.5
        axes.set_xticks(places, names, rotation=30 if len(names) > 2 else 0)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set(xlabel="called", ylabel="truly", aspect="equal")

    return _svg(draw)


def scatter(answers: Answers, *, unit: str) -> str:
    """Return a regression's answers against the truth; on the dotted line, both agree."""

    def draw(axes: "Axes") -> None:
        said = answers.logits[:, 0]
        low, high = float(min(answers.truth.min(), said.min())), float(max(answers.truth.max(), said.max()))
        axes.plot([low, high], [low, high], color=GREY, linestyle=":", linewidth=1)
        axes.plot(answers.truth, said, "o", color=BLUE, markersize=3, alpha=0.6)
        words = f" ({unit})" if unit else ""
        axes.set(xlabel=f"truth{words}", ylabel=f"answer{words}")

    return _svg(draw)


def forest(figures: Mapping[str, Interval], *, title: str, chance: float | None) -> str:
    """Return runs below each other with their intervals; the dotted line is what no knowledge reaches."""
    known = {name: figure for name, figure in figures.items() if figure.known}

    def draw(axes: "Axes") -> None:
        places = -np.arange(len(known))
        values = np.array([figure.value for figure in known.values()])
        ends = np.array([[figure.value - figure.low, figure.high - figure.value] for figure in known.values()]).T
        if chance is not None:
            axes.axvline(chance, color=GREY, linestyle=":", linewidth=1)
        axes.errorbar(values, places, xerr=np.maximum(ends, 0), fmt="o", color=BLUE, capsize=3, linewidth=1.2)
        axes.set_yticks(places, list(known))
        axes.set(xlabel=title, ylim=(0.6 - len(known), 0.6))

    return _svg(draw, height=0.9 + 0.32 * len(known), width=5.5) if known else ""


def lines(curves: Mapping[str, tuple[Any, Any]], *, across: str, up: str) -> str:
    """Return curves with a legend, each (across, up)."""

    def draw(axes: "Axes") -> None:
        for name, (places, values) in curves.items():
            axes.plot(places, values, label=name, linewidth=1.5)
        axes.set(xlabel=across, ylabel=up)

    return _svg(draw, legend=True)


def _svg(draw: "Callable[[Axes], None]", *, legend: bool = False, width: float = 3.6, height: float = 3.4) -> str:
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures of reports need matplotlib: pip install 'napari-mtlpath[report]'.") from error
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        if legend:
            axes.legend(frameon=False, fontsize=8)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]  # without the XML declaration, which HTML does not take


def _square(axes: "Axes", across: str, up: str) -> None:
    axes.set(xlabel=across, ylabel=up, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _line(answers: Answers) -> dict[str, Any]:
    return {"linewidth": 1.5} | ({"color": BLUE} if answers.logits.shape[1] == 1 else {})


def _classes(answers: Answers) -> tuple[str, ...]:
    assert isinstance(answers.task, Classification)
    return answers.task.classes


def _names(answers: Answers) -> list[str]:
    names = _classes(answers)
    return [names[1]] if answers.logits.shape[1] == 1 else [names[number] for number in answers.classes_present]
