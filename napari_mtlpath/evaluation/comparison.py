"""Several runs side by side: every figure with its interval, paired tests against a baseline, no ranking by luck."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from napari_mtlpath.evaluation.gain import Gain, gains
from napari_mtlpath.evaluation.intervals import Drawn, Interval, Repeat, Resampler, draw
from napari_mtlpath.evaluation.judge import JudgeOptions, ModelTables, answers_of, floor_answers, threshold_of
from napari_mtlpath.evaluation.metrics import Metric, metrics_for
from napari_mtlpath.evaluation.paired import Difference, difference, holm, ranking_words
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.evaluation.silhouette import SILHOUETTE, silhouette_answers
from napari_mtlpath.tasks import Task

TRIVIAL = "trivial answer"
"""Stands in the place of a run's repeats for the majority and the linear probe."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One repeat of a run: its answers on the judged part, and on the selection part where it kept them."""

    test: Predictions
    selection: Predictions | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RunGroup:
    """All repeats (seeds, folds) of what was trained under one name."""

    name: str
    repeats: tuple[Judged, ...]

    def __post_init__(self) -> None:
        places = [(each.test.seed, each.test.fold) for each in self.repeats]
        if not places or len(set(places)) != len(places):
            raise ValueError(
                f"Runs called {self.name!r} must differ in seed or fold; found (seed, fold) {places}. "
                "Give another name to what is something else."
            )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of its first repeat."""
        return self.repeats[0].test.tasks

    @property
    def words(self) -> str:
        """How often it was repeated."""
        seeds, folds = ({getattr(each.test, kind) for each in self.repeats} for kind in ("seed", "fold"))
        return f"{len(seeds)} seed{'s' * (len(seeds) > 1)}" + (f" x {len(folds)} folds" if len(folds) > 1 else "")


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskComparison:
    """All runs and trivial answers on one task.

    Attributes
    ----------
    task
        The question.
    metrics
        The figures, in the order of the columns; `main` is the one that words and gains are about.
    cells
        By run (trivial answers last) and metric: the figure with its interval.
    differences
        By run and metric: run minus baseline.
    adjusted
        By run and metric: the p-value after Holm's correction over all runs and tasks of that metric.
    words
        What may be said about the order of the runs.
    """

    task: Task
    metrics: tuple[Metric, ...]
    main: str
    cells: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Difference]]
    adjusted: Mapping[str, Mapping[str, float]]
    words: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A table of runs.

    Attributes
    ----------
    runs
        By name: how often it was repeated, in words; the trivial answers last.
    baseline
        What the others are tested against.
    tasks
        One comparison per task.
    gains
        By run: relative gain over the single-task runs, in percent; empty without such runs.
    notes
        What a reader must know.
    """

    runs: Mapping[str, str]
    baseline: str
    tasks: tuple[TaskComparison, ...]
    gains: Mapping[str, Gain]
    notes: tuple[str, ...]
    options: JudgeOptions = field(default_factory=JudgeOptions)


def group_runs(runs: Sequence[Judged]) -> tuple[RunGroup, ...]:
    """Return runs grouped by name, in order of appearance."""
    names = list(dict.fromkeys(run.test.run for run in runs))
    return tuple(RunGroup(name=name, repeats=tuple(run for run in runs if run.test.run == name)) for name in names)


def compare(
    groups: Sequence[RunGroup],
    *,
    baseline: str | None = None,
    alone: Sequence[RunGroup] = (),
    options: JudgeOptions | None = None,
) -> Comparison:
    """Compare runs.

    Parameters
    ----------
    groups
        What to compare, one row each.
    baseline
        Name of the row that the others are tested against; by default the first.
    alone
        Single-task runs for the relative gain; each task is taken from the first of them that has it.
    options
        The user's choices.

    Raises
    ------
    ValueError
        If names repeat, the baseline is none of them, or a task means different things in different runs.
    """
    options = options or JudgeOptions()
    names = [group.name for group in groups]
    baseline = names[0] if baseline is None else baseline
    if baseline not in names or len(set(names)) != len(names):
        raise ValueError(f"The baseline must be one of the runs, each of its own name; found {baseline!r} and {names}.")
    tasks = _tasks([*groups, *alone])
    everyone = [name for group in (*groups, *alone) for each in group.repeats for name in each.test.patients]
    resampler = Resampler(everyone, draws=options.draws, seed=options.seed)
    table = {task.name: _drawn(task, groups, baseline, resampler, options) for task in tasks.values()}
    single = {task.name: _drawn_alone(task, alone, resampler, options) for task in tasks.values()}
    differences = {task: _differences(drawn, names, baseline) for task, drawn in table.items()}
    adjusted = _adjusted(differences)
    floors = list(dict.fromkeys(name for drawn in table.values() for name in drawn if name not in names))
    judged = [task for task in tasks.values() if table[task.name]]
    return Comparison(
        runs={group.name: group.words for group in groups} | dict.fromkeys(floors, TRIVIAL),
        baseline=baseline,
        tasks=tuple(_task(task, table[task.name], differences, adjusted, options, names) for task in judged),
        gains=_gains(names, table, single, tasks) if alone else {},
        notes=tuple(_notes(groups, baseline, table, differences, options)),
        options=options,
    )


def _tasks(groups: Sequence[RunGroup]) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for group in groups:
        for each in group.repeats:
            for task in each.test.tasks:
                known = tasks.setdefault(task.name, task)
                if (known.kind, getattr(known, "classes", ())) != (task.kind, getattr(task, "classes", ())):
                    raise ValueError(
                        f"Task {task.name!r} has other classes in run {group.name!r}. Compare like with like."
                    )
    return tasks


def _drawn(
    task: Task, groups: Sequence[RunGroup], baseline: str, resampler: Resampler, options: JudgeOptions
) -> dict[str, dict[str, Drawn]]:
    """Return the drawn figures of one task by run and metric; the baseline's trivial answers last."""
    rows = {group.name: found for group in groups if (found := _row(task, group, resampler, options))}
    source = next(group for group in groups if group.name == baseline)
    if baseline not in rows:  # an extension's task: the trivial answers of the first run that has it
        source = next((group for group in groups if group.name in rows), source)
    trivial: dict[str, list[Repeat]] = {}
    for each in source.repeats:
        if task.name in each.test.task_names and each.test.known(task.name).any():
            for name, answers in floor_answers(each.test, task).items():
                trivial.setdefault(name, []).append(Repeat(answers=answers, seed=each.test.seed, fold=each.test.fold))
    for name, repeats in trivial.items():
        rows[name] = {metric.name: draw(metric, repeats, resampler) for metric in _metrics(task, options)}
    return rows


def _row(task: Task, group: RunGroup, resampler: Resampler, options: JudgeOptions) -> dict[str, Drawn]:
    repeats, apart = [], []
    for each in group.repeats:
        test = each.test
        if task.name not in test.task_names or not test.known(task.name).any():
            return {}
        threshold, _ = threshold_of(task, each.selection, ModelTables(), options)
        place = {"seed": test.seed, "fold": test.fold}
        repeats.append(Repeat(answers=answers_of(test, task.name, threshold=threshold), **place))
        silhouettes = silhouette_answers(test, task.name)
        if silhouettes is not None:
            apart.append(Repeat(answers=silhouettes, **place))
    row = {metric.name: draw(metric, repeats, resampler) for metric in _metrics(task, options)}
    if len(apart) == len(repeats):
        row[SILHOUETTE.name] = draw(SILHOUETTE, apart, resampler)
    return row


def _drawn_alone(
    task: Task, alone: Sequence[RunGroup], resampler: Resampler, options: JudgeOptions
) -> dict[str, Drawn]:
    return next((row for group in alone if (row := _row(task, group, resampler, options))), {})


def _metrics(task: Task, options: JudgeOptions) -> tuple[Metric, ...]:
    return metrics_for(task, options.metrics).metrics


def _differences(
    drawn: Mapping[str, Mapping[str, Drawn]], names: Sequence[str], baseline: str
) -> dict[str, dict[str, Difference]]:
    against = drawn.get(baseline, {})
    found: dict[str, dict[str, Difference]] = {}
    for name in names:
        if name == baseline or name not in drawn:
            continue
        compared = {
            metric: difference(cell, against[metric]) for metric, cell in drawn[name].items() if metric in against
        }
        found[name] = {metric: gap for metric, gap in compared.items() if gap is not None}
    return found


def _adjusted(
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]],
) -> dict[tuple[str, str, str], float]:
    """Return Holm's p-values by (task, run, metric); one family per metric, over all tasks and runs."""
    families: dict[str, dict[tuple[str, str, str], float]] = {}
    for task, runs in differences.items():
        for run, gaps in runs.items():
            for metric, gap in gaps.items():
                families.setdefault(metric, {})[task, run, metric] = gap.p_value
    result: dict[tuple[str, str, str], float] = {}
    for family in families.values():
        keys = list(family)
        adjusted = holm({str(number): family[key] for number, key in enumerate(keys)})
        result |= {key: adjusted[str(number)] for number, key in enumerate(keys)}
    return result


def _task(
    task: Task,
    drawn: Mapping[str, Mapping[str, Drawn]],
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]],
    adjusted: Mapping[tuple[str, str, str], float],
    options: JudgeOptions,
    names: Sequence[str],
) -> TaskComparison:
    chosen = metrics_for(task, options.metrics)
    cells = {run: {name: cell.interval for name, cell in row.items()} for run, row in drawn.items()}
    shown = any(SILHOUETTE.name in row for row in drawn.values())
    main = chosen.by_name[chosen.main]
    ranked = {run: row[main.name] for run, row in cells.items() if run in names}
    return TaskComparison(
        task=task,
        metrics=(*chosen.metrics, SILHOUETTE) if shown else chosen.metrics,
        main=chosen.main,
        cells=cells,
        differences=differences[task.name],
        adjusted={
            run: {metric: adjusted[task.name, run, metric] for metric in gaps}
            for run, gaps in differences[task.name].items()
        },
        words=ranking_words(ranked, higher_is_better=main.higher_is_better, what=f"{main.title} of '{task.name}'"),
    )


def _gains(
    names: Sequence[str],
    table: Mapping[str, Mapping[str, Mapping[str, Drawn]]],
    single: Mapping[str, Mapping[str, Drawn]],
    tasks: Mapping[str, Task],
) -> dict[str, Gain]:
    found = {}
    for name in names:
        pairs = {}
        for task, drawn in table.items():
            main = metrics_for(tasks[task]).main
            if name in drawn and main in single[task]:
                pairs[task] = (drawn[name][main], single[task][main])
        if pairs:
            found[name] = gains(pairs)
    return found


def _notes(
    groups: Sequence[RunGroup],
    baseline: str,
    table: Mapping[str, Mapping[str, Mapping[str, Drawn]]],
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]],
    options: JudgeOptions,
) -> list[str]:
    notes = [
        f"Intervals: 95 % percentile bootstrap, {options.draws:,} draws of patients"
        + (", and of seeds." if any(len({e.test.seed for e in group.repeats}) > 1 for group in groups) else ".")
    ]
    tests = sum(len(gaps) > 0 for runs in differences.values() for gaps in runs.values())
    if tests > 1:
        notes.append(
            f"{tests} comparisons with '{baseline}' are made per figure: p-values are corrected for that (Holm). "
            "An uncorrected p below .05 is expected by luck once in twenty."
        )
    notes.extend(
        f"'{group.name}' has one seed: its interval does not know how much another seed would differ."
        for group in groups
        if len({each.test.seed for each in group.repeats}) == 1
    )
    unpaired = {
        run
        for task, runs in differences.items()
        for run, gaps in runs.items()
        if not gaps and run in table[task] and baseline in table[task]
    }
    notes.extend(
        f"'{run}' did not answer the samples that '{baseline}' answered: no test between them."
        for run in sorted(unpaired)
    )
    return notes
