"""A comparison of runs as a document for people."""

from napari_mtlpath.evaluation.comparison import TRIVIAL, Comparison, TaskComparison
from napari_mtlpath.evaluation.report import explain, plots
from napari_mtlpath.evaluation.report.document import Document, Picture, Section, Table
from napari_mtlpath.evaluation.report.numbers import NOTHING, p_value, with_interval

SEEDS = (
    "A run with several seeds is the mean over its seeds; drawings are of patients and of seeds at once (the mean over "
    "folds within a seed), so its interval also says how much another seed would differ."
)


def comparison_document(comparison: Comparison, *, pictures: bool = True) -> Document:
    """Return the document of a comparison; `pictures` needs matplotlib."""
    sections = [_overview(comparison)]
    if comparison.gains:
        sections.append(_gains(comparison))
    sections += [_task(task, comparison, pictures=pictures) for task in comparison.tasks]
    names = dict.fromkeys(metric.name for task in comparison.tasks for metric in task.metrics)
    words = [explain.WORDS[name] for name in names]
    sections.append(Section(title="What the figures mean", sentences=(*words, explain.INTERVAL, SEEDS, explain.FLOORS)))
    runs = sum(words != TRIVIAL for words in comparison.runs.values())
    return Document(title=f"Comparison of {runs} runs", sections=tuple(sections))


def _overview(comparison: Comparison) -> Section:
    mains = [next(metric for metric in task.metrics if metric.name == task.main) for task in comparison.tasks]
    headings = (
        "run",
        "repeats",
        *(
            f"{task.task.title or task.task.name}: {main.title}"
            for task, main in zip(comparison.tasks, mains, strict=True)
        ),
    )
    rows = [
        (
            run + (" (baseline)" if run == comparison.baseline else ""),
            repeats,
            *(with_interval(task.cells[run][task.main]) if run in task.cells else NOTHING for task in comparison.tasks),
        )
        for run, repeats in comparison.runs.items()
    ]
    sentences = [*(task.words for task in comparison.tasks if task.words), *comparison.notes]
    return Section(
        title="Main figures", sentences=tuple(sentences), tables=(Table(headings=headings, rows=tuple(rows)),)
    )


def _gains(comparison: Comparison) -> Section:
    tasks = list(dict.fromkeys(task for gain in comparison.gains.values() for task in gain.by_task))
    rows = [
        (
            run,
            with_interval(gain.mean, digits=2),
            *(with_interval(gain.by_task[task], digits=2) if task in gain.by_task else NOTHING for task in tasks),
        )
        for run, gain in comparison.gains.items()
    ]
    return Section(
        title="Relative gain over single-task runs",
        sentences=("In percent of the single-task run's main figure; positive is better.",),
        tables=(Table(headings=("run", "mean over tasks", *tasks), rows=tuple(rows)),),
    )


def _task(task: TaskComparison, comparison: Comparison, *, pictures: bool) -> Section:
    titles = tuple(metric.title for metric in task.metrics)
    rows = [
        (run, *(with_interval(row[metric.name]) if metric.name in row else NOTHING for metric in task.metrics))
        for run, row in task.cells.items()
    ]
    tables = [Table(headings=("run", *titles), rows=tuple(rows))]
    if task.differences:
        tables.append(_differences(task, comparison.baseline))
    main = next(metric for metric in task.metrics if metric.name == task.main)
    drawn = {run: row[main.name] for run, row in task.cells.items()}
    svg = plots.forest(drawn, title=main.title, chance=main.chance) if pictures else ""
    return Section(
        title=f"Task: {task.task.title or task.task.name}",
        sentences=(task.words,) if task.words else (),
        tables=tuple(tables),
        pictures=(Picture(svg=svg, caption="Each run with its 95 % interval; dotted: chance."),) if svg else (),
    )


def _differences(task: TaskComparison, baseline: str) -> Table:
    rows = []
    for run, gaps in task.differences.items():
        for metric in task.metrics:
            gap = gaps.get(metric.name)
            if gap is not None:
                adjusted = task.adjusted[run][metric.name]
                rows.append(
                    (run, metric.title, with_interval(gap.interval), p_value(gap.p_value), p_value(adjusted), gap.test)
                )
    headings = (f"run minus {baseline}", "figure", "difference", "p", "p after Holm", "test")
    return Table(headings=headings, rows=tuple(rows))
