"""Reports say what was found, name nobody, load nothing, and keep the figures that judging computed."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_predictions import made

from napari_mtlpath.evaluation.comparison import Comparison, Judged, compare, group_runs
from napari_mtlpath.evaluation.fit_tables import FitOptions, fit_tables
from napari_mtlpath.evaluation.judge import JudgeOptions, RunReport, judge
from napari_mtlpath.evaluation.metrics import metrics_for
from napari_mtlpath.evaluation.report.files import write_comparison, write_run_report

OPTIONS = JudgeOptions(draws=100)


@pytest.fixture(scope="module")
def report() -> RunReport:
    selection = made(part="selection")
    fitted = fit_tables(selection, fitted_on="40 patients of the selection part", options=FitOptions(judging=OPTIONS))
    assert fitted.notes == ()
    return judge(made(), selection=selection, tables=fitted.tables, options=OPTIONS)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    runs = [
        Judged(test=made(run, seed=seed, signal=signal), selection=made(run, seed=seed, part="selection"))
        for run, signal in (("equal", 1.0), ("uncert+cagrad", 1.02), ("routing off", 0.1))
        for seed in range(2)
    ]
    alone = [Judged(test=made(f"only {name}", tasks=(name,))) for name in ("msi", "grade", "share")]
    return compare(group_runs(runs), alone=group_runs(alone), options=OPTIONS)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's time; one test looks at the pictures."""
    monkeypatch.setattr("napari_mtlpath.evaluation.report.files.has_pictures", lambda: False)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in {"meta", "link", "br", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.usefixtures("no_pictures")
def test_no_report_names_a_sample_or_a_patient_unless_asked(tmp_path: Path, report: RunReport) -> None:
    for path in write_run_report(tmp_path, report):
        assert "CANARY" not in path.read_text(encoding="utf-8"), path.name

    write_run_report(tmp_path, report, with_names=True)

    assert "CANARY-slide" in (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert "CANARY-slide" in (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert "CANARY" not in (tmp_path / "evaluation.json").read_text(encoding="utf-8")


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path, report: RunReport, comparison: Comparison) -> None:
    write_run_report(tmp_path, report)
    write_comparison(tmp_path, comparison)

    for name, pictures in (("evaluation.html", 4 + 4 + 1), ("comparison.html", 3)):
        page = _Page()
        text = (tmp_path / name).read_text(encoding="utf-8")
        page.feed(text)
        assert "CANARY" not in text
        assert page.open == []
        assert page.tags.count("svg") == pictures
        assert not {"script", "img", "iframe", "object", "link"} & set(page.tags)
        assert all(link.startswith("#") for link in page.links)


@pytest.mark.usefixtures("no_pictures")
def test_json_and_csv_hold_the_figures_of_the_judge(tmp_path: Path, report: RunReport) -> None:
    write_run_report(tmp_path, report)
    values = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    with (tmp_path / "evaluation.csv").open(encoding="utf-8", newline="") as stream:
        rows = {(row["task"], row["metric"], row["answer"]): row for row in csv.DictReader(stream)}

    for task in report.tasks:
        metrics = metrics_for(task.task).by_name
        for figure in task.figures:
            written = values["tasks"][task.task.name]["figures"][figure.name]
            assert written["value"] == figure.model.value
            assert float(rows[task.task.name, figure.name, "model"]["value"]) == figure.model.value
            if figure.name in metrics:
                assert figure.model.value == metrics[figure.name].value(task.answers)
                assert {"majority", "linear probe"} <= set(written["floors"])


def test_a_binary_task_uses_the_threshold_of_the_card_not_of_the_judged_data(report: RunReport) -> None:
    msi = report.tasks[0]

    assert "from the model's card" in msi.operating_point
    assert msi.answers.threshold != 0.0
    assert msi.calibration is not None


def test_without_selection_data_the_threshold_is_half_and_it_says_so() -> None:
    msi = judge(made(), options=OPTIONS).tasks[0]

    assert msi.answers.threshold == 0.0
    assert "no selection data" in msi.operating_point
    assert msi.calibration is None


def test_partial_labels_and_rare_classes_are_said(report: RunReport) -> None:
    notes = " ".join(report.tasks[0].notes)

    assert re.search(r"\d+ of 80 samples have no label", notes)


def test_too_few_patients_leave_a_task_uncalibrated_and_say_so() -> None:
    fitted = fit_tables(made(part="selection", count=20), fitted_on="few", options=FitOptions(judging=OPTIONS))

    assert fitted.tables.calibration == {}
    assert any("calibration needs 10" in note for note in fitted.notes)


def test_a_comparison_groups_seeds_tests_pairs_and_ranks_only_what_is_apart(comparison: Comparison) -> None:
    assert list(comparison.runs) == ["equal", "uncert+cagrad", "routing off", "majority", "linear probe"]
    assert comparison.runs["equal"] == "2 seeds"
    msi = comparison.tasks[0]
    assert set(msi.differences) == {"uncert+cagrad", "routing off"}
    worse = msi.differences["routing off"]["auroc"]
    assert worse.interval.high < 0
    assert msi.adjusted["routing off"]["auroc"] >= worse.p_value
    assert "No ranking among" in msi.words
    assert msi.words.index("equal") < msi.words.index("routing off")
    assert comparison.gains["routing off"].mean.high < comparison.gains["equal"].mean.low
    assert any("Holm" in note for note in comparison.notes)


def test_a_run_that_lacks_a_task_is_shown_without_it() -> None:
    base = Judged(test=made("base pair", tasks=("msi", "grade")))
    extended = Judged(test=made("extended"))

    found = compare(group_runs([base, extended]), options=OPTIONS)

    cells = {task.task.name: set(task.cells) for task in found.tasks}
    assert cells["msi"] == {"base pair", "extended", "majority", "linear probe"}
    assert cells["share"] == {"extended", "majority", "linear probe"}
    assert not any(found.tasks[2].differences.values())
    assert not any("did not answer the samples" in note for note in found.notes)


def test_one_seed_is_said_to_be_one_seed() -> None:
    found = compare(group_runs([Judged(test=made("a")), Judged(test=made("b", seed=1))]), options=OPTIONS)

    assert sum("has one seed" in note for note in found.notes) == 2


def test_two_runs_of_one_name_seed_and_fold_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in seed or fold"):
        group_runs([Judged(test=made("a")), Judged(test=made("a"))])


def test_runs_on_other_patients_are_not_tested_against_each_other() -> None:
    other = made("b")
    other = replace(other, patients=tuple(f"other {name}" for name in other.patients))

    found = compare(group_runs([Judged(test=made("a")), Judged(test=other)]), options=OPTIONS)

    assert found.tasks[0].differences["b"] == {}
    assert any("did not answer the samples" in note for note in found.notes)
