"""Tables to cohorts: labels, unknown labels, and everything wrong said at once with its place."""

import math

import h5py
import numpy as np
import openpyxl
import pytest

from napari_mtlpath.tables.feature_files import feature_file
from napari_mtlpath.tables.problems import TableError
from napari_mtlpath.tables.read import read_cohort
from napari_mtlpath.tables.rules import TableRules
from napari_mtlpath.tasks import Classification, Regression

MSI = Classification(name="MSI", classes=("no", "yes"))
AGE = Regression(name="AGE", low=0, high=100)


@pytest.fixture
def table(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def problems_of(*args, **options):
    with pytest.raises(TableError) as caught:
        read_cohort(*args, **options)
    return caught.value.problems


def write_h5(path, tiles=3, length=4, name="feats"):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = np.zeros((tiles, length), np.float32)


def test_two_tables_join_slides_and_labels_by_patient(table):
    slides = table("slides.csv", "PATIENT,FILENAME", "007,a.svs", "8,c.svs", "007,b.svs")
    labels = table("clini.csv", "PATIENT,AGE,MSI", "8,,no", "007,61.5,yes")
    cohort = read_cohort(slides, labels, tasks=[MSI, AGE])
    assert [(p.name, p.files) for p in cohort.patients] == [("007", ("a.svs", "b.svs")), ("8", ("c.svs",))]
    np.testing.assert_array_equal(cohort.label_array(), [[1, 61.5], [0, math.nan]])


def test_one_table_joins_the_rows_of_a_patient(table):
    path = table("all.csv", "FILENAME,PATIENT,MSI", "a.svs,P1,", "b.svs,P1,yes", "c.svs,P2,")
    cohort = read_cohort(path, tasks=[MSI])
    assert [patient.files for patient in cohort.patients] == [("a.svs", "b.svs"), ("c.svs",)]
    np.testing.assert_array_equal(cohort.label_array(), [[1], [math.nan]])


def test_without_a_patient_column_each_slide_is_a_patient_and_it_is_said(table):
    cohort = read_cohort(table("all.csv", "FILENAME,MSI", "a.svs,no", "b.svs,yes"), tasks=[MSI])
    assert [patient.name for patient in cohort.patients] == ["a.svs", "b.svs"]
    assert "each slide counts as a patient of its own" in " ".join(cohort.notes)


def test_everything_wrong_is_said_at_once_with_file_row_and_column(table):
    slides = table(
        "slides.csv",
        "PATIENT,FILENAME",
        "P1,a.svs",
        "P1,a.svs",
        ",b.svs",
        "P9,c.svs",
        "P2 ,d.svs",
        "P2,../e.svs",
        "P2,",
        "P2,f.svs",
    )
    labels = table(
        "clini.csv",
        "PATIENT,MSI,AGE",
        "P1,yes,60",
        "P1,no,60",
        "P2,Yes,sixty",
        "P3,NA,",
        'P4, no,"1,234"',
    )
    found = {(p.file, p.row, p.column) for p in problems_of(slides, labels, tasks=[MSI, AGE])}
    assert found == {
        ("slides.csv", 3, "FILENAME"),  # a.svs again
        ("slides.csv", 4, "PATIENT"),  # empty
        ("slides.csv", 5, "PATIENT"),  # P9 without labels
        ("slides.csv", 6, "PATIENT"),  # blank at the end
        ("slides.csv", 7, "FILENAME"),  # leads out
        ("slides.csv", 8, "FILENAME"),  # empty
        ("clini.csv", 3, "MSI"),  # contradicts the row above
        ("clini.csv", 4, "MSI"),  # no class
        ("clini.csv", 4, "AGE"),  # no number
        ("clini.csv", 5, "MSI"),  # a word for unknown
        ("clini.csv", 5, "PATIENT"),  # no slide
        ("clini.csv", 6, "MSI"),  # blank
        ("clini.csv", 6, "AGE"),  # comma in two meanings
        ("clini.csv", 6, "PATIENT"),  # no slide
    }


def test_wrong_column_name_is_answered_with_the_nearest(table):
    slides = table("slides.csv", "Patient,FILE_NAME", "P1,a.svs")
    labels = table("clini.csv", "PATIENT,msi", "P1,yes")
    said = [problem.message for problem in problems_of(slides, labels, tasks=[MSI])]
    assert any("Did you mean 'FILE_NAME'?" in words for words in said)
    assert any("Did you mean 'Patient'?" in words for words in said)
    assert any("no column 'MSI'. Did you mean 'msi'?" in words for words in said)


@pytest.mark.parametrize("word", ["NA", "n/a", "nan", "unknown", "None", "?"])
def test_words_for_unknown_are_refused_unless_allowed(table, word):
    path = table("all.csv", "PATIENT,FILENAME,MSI", f"P1,a.svs,{word}", "P2,b.svs,yes")
    (problem,) = problems_of(path, tasks=[MSI])
    assert "Leave the cell empty" in problem.message
    cohort = read_cohort(path, tasks=[MSI], rules=TableRules(unknown=(word.upper(),)))
    np.testing.assert_array_equal(cohort.label_array(), [[math.nan], [1]])


def test_word_for_unknown_may_be_a_class(table):
    site = Classification(name="SITE", classes=("lung", "unknown"))
    cohort = read_cohort(table("all.csv", "PATIENT,FILENAME,SITE", "P1,a.svs,unknown"), tasks=[site])
    assert cohort.label_array().tolist() == [[1]]


def test_unmatched_rows_are_left_out_where_allowed(table):
    slides = table("slides.csv", "PATIENT,FILENAME", "P1,a.svs", "P9,b.svs")
    labels = table("clini.csv", "PATIENT,MSI", "P1,yes", "P3,no", "P4,no")
    cohort = read_cohort(slides, labels, tasks=[MSI], rules=TableRules(allow_unmatched=True))
    assert [patient.name for patient in cohort.patients] == ["P1"]
    assert "clini.csv, column 'PATIENT', lines 3, 4: the patient has no slide in slides.csv and is left out." in (
        cohort.notes
    )


def test_unmatched_patient_is_answered_with_the_nearest_name(table):
    slides = table("slides.csv", "PATIENT,FILENAME", "TCGA-a1,a.svs")
    labels = table("clini.csv", "PATIENT,MSI", "TCGA-A1,yes")
    assert "Did you mean 'TCGA-A1'?" in problems_of(slides, labels, tasks=[MSI])[0].message


def test_repeated_row_of_a_patient_that_agrees_is_joined_and_said(table):
    slides = table("slides.csv", "PATIENT,FILENAME", "P1,a.svs")
    labels = table("clini.csv", "PATIENT,MSI,AGE", "P1,yes,", "P1,,7")
    cohort = read_cohort(slides, labels, tasks=[MSI, AGE])
    assert cohort.label_array().tolist() == [[1, 7]]
    assert any("the rows were joined" in note for note in cohort.notes)


def test_slide_of_two_patients_is_a_fault(table):
    (problem,) = problems_of(table("all.csv", "PATIENT,FILENAME,MSI", "P1,a.svs,no", "P2,a.svs,no"), tasks=[MSI])
    assert "there of patient 'P1'" in problem.message


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["P1,a,no", "P2,b,no"], "all known labels are the same"),
        (["P1,a,", "P2,b,"], "no patient has a label"),
        (["P1,a,no", "P2,b,yes"], "only 1 patients have the class 'yes'"),
    ],
)
def test_suspicious_labels_are_said_but_stop_nothing(table, rows, words):
    cohort = read_cohort(table("all.csv", "PATIENT,FILENAME,MSI", *rows), tasks=[MSI])
    assert any(words in note for note in cohort.notes)


def test_label_outside_the_range_and_decimal_commas_are_said(table):
    path = table("all.csv", "PATIENT;FILENAME;AGE", "P1;a;61,5", "P2;b;120")
    cohort = read_cohort(path, tasks=[AGE])
    assert cohort.label_array().tolist() == [[61.5], [120]]
    assert any("outside the task's range 0 to 100" in note for note in cohort.notes)
    assert any("decimal commas" in note for note in cohort.notes)


def test_numbers_stored_as_text_are_read_and_said(tmp_path):
    book = openpyxl.Workbook()
    for row in (["PATIENT", "FILENAME", "AGE"], ["P1", "a", "61.5"], ["P2", "b", 50]):
        book.active.append(row)
    book.save(tmp_path / "all.xlsx")
    cohort = read_cohort(tmp_path / "all.xlsx", tasks=[AGE])
    assert cohort.label_array().tolist() == [[61.5], [50]]
    assert any("1 numbers are stored as text" in note for note in cohort.notes)


def test_tasks_are_inferred_and_said_in_words(table):
    rows = [
        f"P{n},s{n}.svs,{'WT' if n % 3 else 'MUT'},{n % 2},{n / 7:.3f},{'abc'[n % 3]},2020,note {n}" for n in range(30)
    ]
    path = table("all.csv", "PATIENT,FILENAME,KRAS,MSI,TMB,GRADE,YEAR,REMARK", *rows)
    cohort = read_cohort(path)
    assert [task.name for task in cohort.tasks] == ["KRAS", "MSI", "TMB", "GRADE"]
    kras, msi, tmb, grade = cohort.tasks
    assert (kras.classes, msi.classes, grade.classes) == (("WT", "MUT"), ("0", "1"), ("a", "b", "c"))
    assert (tmb.low, tmb.high) == (0.0, pytest.approx(29 / 7, abs=1e-3))
    said = " ".join(cohort.notes)
    assert "'WT' and 'MUT', the second positive" in said
    assert "nothing to learn" in said
    assert "30 different texts" in said


def test_table_without_a_task_is_refused(table):
    (problem,) = problems_of(table("all.csv", "PATIENT,FILENAME", "P1,a.svs"))
    assert "looks like a task" in problem.message


def test_feature_files_are_checked_before_anything_starts(table, tmp_path):
    names = [
        "good.svs",
        "TCGA-1.4b7c",
        "given.h5",
        "absent.svs",
        "long.svs",
        "empty.svs",
        "broken.svs",
        "other.svs",
        "good.tif",
    ]
    path = table("all.csv", "PATIENT,FILENAME,MSI", *(f"P{n},{name},no" for n, name in enumerate(names)))
    folder = tmp_path / "features"
    for name in ("good", "TCGA-1.4b7c", "given"):
        write_h5(folder / f"{name}.h5")
    write_h5(folder / "long.h5", length=5)
    write_h5(folder / "empty.h5", tiles=0)
    write_h5(folder / "other.h5", name="elsewhere")
    (folder / "broken.h5").write_bytes(b"no HDF5")
    said = {problem.row: problem.message for problem in problems_of(path, tasks=[MSI], features=folder)}
    assert set(said) == {5, 6, 7, 8, 9, 10}
    for row, words in {
        5: "has no feature file",
        6: "length 4, as most files of the cohort have; those of slide 'long.svs' have 5",
        7: "holds no tile",
        8: "cannot be read as HDF5",
        9: "holds no dataset feats or features",
        10: "have the same feature file",
    }.items():
        assert words in said[row]


def test_embeddings_must_have_the_length_asked_for(table, tmp_path):
    write_h5(tmp_path / "features" / "a.h5", length=5)
    path = table("all.csv", "PATIENT,FILENAME,MSI", "P1,a.svs,no")
    (problem,) = problems_of(path, tasks=[MSI], features=tmp_path / "features", rules=TableRules(feature_length=4))
    assert "length 4, as asked for" in problem.message


def test_feature_file_is_found_with_and_without_suffix(tmp_path):
    write_h5(tmp_path / "b" / "x.h5")
    assert feature_file(tmp_path, "b/x.svs") == feature_file(tmp_path, "b/x") == tmp_path / "b" / "x.h5"
    assert feature_file(tmp_path / "b", "../b/x.h5") is None


def test_source_tables_are_not_touched(table):
    path = table("all.csv", "PATIENT,FILENAME,MSI", "P1,a.svs,no", "P2,b.svs,yes")
    before = path.stat().st_mtime_ns, path.read_bytes()
    read_cohort(path)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_columns_may_have_other_names(table):
    slides = table("slides.csv", "case,slide", "P1,a.svs")
    labels = table("clini.csv", "case,MSI", "P1,yes")
    rules = TableRules(patient_column="case", filename_column="slide")
    assert read_cohort(slides, labels, tasks=[MSI], rules=rules).patients[0].files == ("a.svs",)


def test_twenty_thousand_wrong_cells_make_one_line(table):
    rows = [f"P{n},s{n},maybe" for n in range(20_000)]
    with pytest.raises(TableError) as caught:
        read_cohort(table("all.csv", "PATIENT,FILENAME,MSI", *rows), tasks=[MSI])
    assert len(caught.value.problems) == 20_000
    assert len(str(caught.value)) < 300
    assert "and 19992 more" in str(caught.value)
