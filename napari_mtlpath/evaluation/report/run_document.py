"""A judged run as a document for people."""

from collections.abc import Iterator

from napari_mtlpath.evaluation.class_sets import PROMISE
from napari_mtlpath.evaluation.gain import Gain
from napari_mtlpath.evaluation.judge import RunReport, TaskReport
from napari_mtlpath.evaluation.metrics import metrics_for
from napari_mtlpath.evaluation.report import explain, plots
from napari_mtlpath.evaluation.report.document import Document, Picture, Section, Table
from napari_mtlpath.evaluation.report.numbers import NOTHING, number, percent, with_interval
from napari_mtlpath.tasks import Classification, Regression

MOST_ERRORS = 20
"""Wrongly answered samples that are listed where names are wanted."""


def run_document(
    report: RunReport, *, with_names: bool = False, pictures: bool = True, gain: Gain | None = None
) -> Document:
    """Return the document of a judged run.

    Parameters
    ----------
    report
        What judging found.
    with_names
        Whether samples that were answered wrongly are listed by the names of the user's table. Those may identify
        patients: left out unless asked for.
    pictures
        Whether to draw; needs matplotlib.
    gain
        Relative gain over single-task runs, where there are any.
    """
    said = report.predictions
    sections = [_summary(report), *([_gain(gain)] if gain is not None else [])]
    sections += [_task(each, report, with_names=with_names, pictures=pictures) for each in report.tasks]
    sections.append(_meaning(report))
    return Document(title=f"{said.run or said.model or 'Model'}: {said.part} part", sections=tuple(sections))


def figure_table(report: TaskReport) -> Table:
    """Return a task's figures, the model's beside the trivial answers'."""
    floors = list(dict.fromkeys(name for figure in report.figures for name in figure.floors))
    rows = [
        (
            figure.title,
            with_interval(figure.model),
            *(with_interval(figure.floors[name]) if name in figure.floors else NOTHING for name in floors),
        )
        for figure in report.figures
    ]
    return Table(headings=("figure", "model", *floors), rows=tuple(rows))


def _summary(report: RunReport) -> Section:
    said = report.predictions
    facts = [
        f"{len(said.samples)} samples of {len(set(said.patients))} patients, {said.part} part.",
        *([f"Model: {said.model}."] if said.model else []),
        f"Seed {said.seed}" + (f", fold {said.fold}." if said.fold else "."),
        *report.notes,
    ]
    rows = []
    for task in report.tasks:
        main = next(figure for figure in task.figures if figure.name == metrics_for(task.task).main)
        counts = ", ".join(f"{count} {name}" for name, count in task.counts.items())
        trivial = [floor.value for floor in main.floors.values() if floor.known] or [float("nan")]
        best = max(trivial) if main.higher_is_better else min(trivial)
        rows.append((task.task.title or task.task.name, counts, main.title, with_interval(main.model), number(best)))
    table = Table(headings=("task", "samples", "figure", "model", "best trivial answer"), rows=tuple(rows))
    return Section(title="At a glance", sentences=tuple(facts), tables=(table,))


def _gain(gain: Gain) -> Section:
    rows = [(task, with_interval(figure, digits=2)) for task, figure in gain.by_task.items()]
    rows.append(("mean over tasks", with_interval(gain.mean, digits=2)))
    return Section(
        title="Gain over single-task runs",
        sentences=("In percent of the single-task figure; positive is better.",),
        tables=(Table(headings=("task", "gain in %"), rows=tuple(rows)),),
    )


def _task(task: TaskReport, report: RunReport, *, with_names: bool, pictures: bool) -> Section:
    sentences = [task.task.question] if task.task.question else []
    if task.operating_point:
        sentences.append(f"Called positive from {task.operating_point}.")
    sentences += [*_calibration_words(task), *task.notes]
    tables = [figure_table(task), *_set_tables(task)]
    if with_names:
        tables.append(_errors(task, report))
    return Section(
        title=f"Task: {task.task.title or task.task.name}",
        sentences=tuple(sentences),
        tables=tuple(tables),
        pictures=tuple(_pictures(task)) if pictures else (),
    )


def _calibration_words(task: TaskReport) -> list[str]:
    if task.error is None:
        return []
    kind = "Calibrated" if task.calibration else "Not calibrated: numbers are scores, not probabilities"
    ground = f" on {task.calibration['fitted_on']}" if task.calibration and "fitted_on" in task.calibration else ""
    return [
        f"{kind}{ground}. ECE {with_interval(task.error.ece)}; by chance {number(task.error.by_chance)}. "
        f"Brier score {with_interval(task.error.brier)}."
    ]


def _set_tables(task: TaskReport) -> list[Table]:
    if task.sets is None:
        return []
    rows = [(f"set holds the truth, {name}", with_interval(share)) for name, share in task.sets.coverage.items()]
    rows += [
        ("answered with one class", with_interval(task.sets.answered)),
        ("right among the answered", with_interval(task.sets.accuracy)),
        ("empty set (unlike every class)", with_interval(task.sets.empty)),
    ]
    return [Table(headings=("prediction sets", "share"), rows=tuple(rows))]


def _errors(task: TaskReport, report: RunReport) -> Table:
    known = report.predictions.known(task.task.name)
    names = [name for name, chosen in zip(report.predictions.samples, known, strict=True) if chosen]
    answers = task.answers
    if isinstance(task.task, Regression):
        gaps = abs(answers.logits[:, 0] - answers.truth)
        worst = gaps.argsort()[::-1][:MOST_ERRORS]
        rows = [(names[row], number(answers.truth[row]), number(answers.logits[row, 0])) for row in worst]
        return Table(headings=("furthest from the truth", "truth", "answer"), rows=tuple(rows))
    classes = task.task.classes
    wrong = [row for row in range(len(names)) if answers.chosen[row] != answers.truth[row]][:MOST_ERRORS]
    rows = [(names[row], classes[int(answers.truth[row])], classes[int(answers.chosen[row])]) for row in wrong]
    return Table(headings=("wrongly called", "truly", "called"), rows=tuple(rows))


def _pictures(task: TaskReport) -> Iterator[Picture]:
    if isinstance(task.task, Regression):
        yield Picture(svg=plots.scatter(task.answers, unit=task.task.unit), caption="Answers against the truth.")
        return
    assert isinstance(task.task, Classification)
    yield Picture(svg=plots.roc_curve(task.answers), caption="ROC curve; the dot: the operating point.")
    yield Picture(
        svg=plots.precision_recall_curve(task.answers),
        caption="Precision against sensitivity; dotted: the share of positives, which blind guessing reaches.",
    )
    if task.reliability is not None:
        yield Picture(
            svg=plots.reliability_diagram(task.reliability, calibrated=bool(task.calibration)),
            caption="Reliability: what was said against what happened, with 95 % intervals.",
        )
    yield Picture(svg=plots.confusion_matrix(task.answers), caption="Samples by true class and by what was called.")


def _meaning(report: RunReport) -> Section:
    names = dict.fromkeys(figure.name for task in report.tasks for figure in task.figures)
    sentences = [explain.WORDS[name] for name in names]
    sentences += [explain.INTERVAL, explain.FLOORS]
    if any(task.error is not None for task in report.tasks):
        sentences.append(explain.CALIBRATION)
    if any(task.sets is not None for task in report.tasks):
        sentences += [explain.SETS, PROMISE]
    dropped = max((figure.model.undefined for task in report.tasks for figure in task.figures), default=0.0)
    if dropped > 0:
        sentences.append(f"Up to {percent(dropped)} of the drawings lacked a class and were left out of an interval.")
    return Section(title="What the figures mean", sentences=tuple(sentences))
