"""The Python block of the page about tables runs as it stands."""

import re
from pathlib import Path

import h5py
import numpy as np
import openpyxl

PAGE = Path(__file__).parents[2] / "docs" / "cohort-tables.md"


def test_what_the_page_shows_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("features").mkdir()
    book = openpyxl.Workbook()
    book.active.append(["PATIENT", "MSI"])
    lines = ["PATIENT,FILENAME,SPLIT"]
    for number in range(40):
        lines.append(f"P{number},{number}.svs,{('train', 'val', 'test')[number % 3]}")
        book.active.append([f"P{number}", "yes" if number % 4 == 0 else "no"])
        with h5py.File(f"features/{number}.h5", "w") as file:
            file["feats"] = np.zeros((2, 3), np.float32)
    book.save("clinical.xlsx")
    Path("slides.csv").write_text("\n".join(lines) + "\n")
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert block is not None
    names = {}
    exec(compile(block.group(1), PAGE.name, "exec"), names)
    assert "the second positive" in capsys.readouterr().out
    assert (len(names["made"].test), len(names["five"]), len(names["given"].train)) == (8, 5, 14)
