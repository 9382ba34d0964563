"""Tables as programs write them: encodings, delimiters, quotes, workbooks, and what is wrong with a file as such."""

import datetime
import zipfile

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mtlpath.tables.problems import Problems, TableError
from napari_mtlpath.tables.read import read_cohort
from napari_mtlpath.tables.sheet import read_sheet

PLAIN = "PATIENT,FILENAME,MSI\n007,a.svs,yes\nMüller,b.svs,no\n"


def sheet_of(path):
    problems = Problems()
    sheet = read_sheet(path, problems)
    problems.raise_faults()
    return sheet, problems


def faults_of(path):
    with pytest.raises(TableError) as caught:
        sheet_of(path)
    return str(caught.value)


def write_xlsx(path, rows, **formats):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for cell, shape in formats.items():
        book.active[cell].number_format = shape
    book.save(path)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_usual_encoding_delimiter_and_newline_gives_the_same_table(tmp_path, encoding, delimiter, newline):
    path = tmp_path / "cohort.csv"
    path.write_bytes(PLAIN.replace(",", delimiter).replace("\n", newline).encode(encoding))
    sheet, problems = sheet_of(path)
    assert list(sheet.columns) == ["PATIENT", "FILENAME", "MSI"]
    assert sheet.rows == [("007", "a.svs", "yes"), ("Müller", "b.svs", "no")]
    assert sheet.numbers == [2, 3]
    assert bool(problems.notes) == (encoding == "cp1252")


def test_separator_line_of_excel_is_obeyed(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text("sep=|\nPATIENT|FILE,NAME\nP1|a,b\n")
    sheet, _ = sheet_of(path)
    assert (list(sheet.columns), sheet.rows, sheet.numbers) == (["PATIENT", "FILE,NAME"], [("P1", "a,b")], [3])


def test_quoted_newlines_and_blank_lines_keep_line_numbers_right(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text('\nPATIENT,REMARK\nP1,"two\nlines"\n\n,\nP2,"a ""word"""\n')
    sheet, _ = sheet_of(path)
    assert sheet.rows == [("P1", "two\nlines"), ("P2", 'a "word"')]
    assert sheet.numbers == [3, 7]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the table is empty"),
        (b"\n\n", "the table is empty"),
        (b"PATIENT,FILENAME\n", "no rows"),
        (b"A,B,A\n1,2,3\n", "stands over two columns"),
        (b"A,B\n1,2,3\n4\n", "expected 2 cells as in the first row; found 3"),
        (b'A,B\n1,"2\n', "a quote that is not closed"),
        (b"A,B\n1,\x00\x01\x02\n", "bytes that are no text"),
        (b"\xff\xfeA\x00,", "expected UTF-16 text"),
        (b"\xd0\xcf\x11\xe0rest", "old .xls workbook"),
        (b"PK\x03\x04rest", "damaged"),
    ],
)
def test_unusable_file_is_refused_with_one_sentence(tmp_path, content, words):
    path = tmp_path / "cohort.csv"
    path.write_bytes(content)
    assert words in faults_of(path)


def test_missing_table_is_named(tmp_path):
    assert str(tmp_path / "none.csv") in faults_of(tmp_path / "none.csv")


def test_both_tables_are_judged_though_one_cannot_be_read(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"")
    with pytest.raises(TableError) as caught:
        read_cohort(tmp_path / "a.csv", tmp_path / "b.csv")
    assert [problem.file for problem in caught.value.problems] == ["a.csv", "b.csv"]


def test_workbook_shows_what_a_person_sees(tmp_path):
    rows = [["PATIENT", "AGE", "OK"], [7, 3.5, True], [12, 60.0, None], ["007", "3.5", "x"]]
    sheet, _ = sheet_of(write_xlsx(tmp_path / "a.xlsx", rows, A2="000"))
    assert sheet.rows == [("007", "3.5", "TRUE"), ("12", "60", ""), ("007", "3.5", "x")]
    assert sheet.numbers == [2, 3, 4]
    assert {(2, 0), (2, 1)} == sheet.number_texts


def test_workbook_is_known_by_its_content_not_by_its_name(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", [["PATIENT"], ["P1"]]).rename(tmp_path / "a.csv")
    assert sheet_of(path)[0].rows == [("P1",)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("=A1&A2", "a formula"),
        ("#N/A", "the error #N/A"),
        (datetime.datetime(2020, 3, 1), "the date or time 2020-03-01"),
        (1234567890123456, "more than the 15 digits"),
    ],
)
def test_cells_that_hide_something_are_faults_of_the_columns_in_use(tmp_path, value, words):
    rows = [["PATIENT", "FILENAME", "MSI"], ["P1", "a.svs", value], ["P2", "b.svs", "yes"], ["P3", "c.svs", "no"]]
    path = write_xlsx(tmp_path / "a.xlsx", rows)
    with pytest.raises(TableError) as caught:
        read_cohort(path)
    (problem,) = (problem for problem in caught.value.problems if words in problem.message)
    assert (problem.file, problem.row, problem.column) == ("a.xlsx", 2, "MSI")
    assert "row 2" in str(caught.value)


def test_merged_cells_are_faults(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", [["PATIENT", "FILENAME", "MSI"], ["P1", "a", "x"], [None, "b", "y"]])
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("A2:A3")
    book.save(path)
    with pytest.raises(TableError, match="A2:A3 are merged") as caught:
        read_cohort(path)
    assert {problem.row for problem in caught.value.problems} == {2, 3}


def test_other_sheets_and_hidden_rows_are_said(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", [["PATIENT"], ["P1"]])
    book = openpyxl.load_workbook(path)
    book.create_sheet("Old")["A1"] = "x"
    book.active.row_dimensions[2].hidden = True
    book.save(path)
    said = " ".join(note.message for note in sheet_of(path)[1].notes)
    assert "'Old'" in said
    assert "1 hidden rows" in said


def test_workbook_that_unpacks_beyond_the_limit_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_mtlpath.tables.xlsx_file.LARGEST_UNPACKED", 2**24)
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/a.xml", "w") as entry:
        entry.write(bytes(2**24 + 1))
    assert "MiB unpacked" in faults_of(path)


names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(names | st.sampled_from(["007", "1E5", "1/2/03", "=1+1", "-0", "TRUE", "1.0"]), min_size=1, unique=True)
)
def test_names_of_patients_come_back_character_by_character(tmp_path_factory, patients):
    path = tmp_path_factory.mktemp("names") / "cohort.csv"
    quoted = ['"' + name.replace('"', '""') + '"' for name in patients]
    lines = [f"{name},s{number}.svs,{number % 2}" for number, name in enumerate(quoted)]
    path.write_text("PATIENT,FILENAME,MSI\n" + "\n".join(lines) + "\n", encoding="utf-8")
    sheet, _ = sheet_of(path)
    assert [row[0] for row in sheet.rows] == patients
