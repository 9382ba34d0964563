"""The files in the recipes work as they stand, and the pages point to what is there."""

import re
import sys
import types
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch

from napari_mtlpath.tasks import Classification, Regression

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def module_of(page: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Import the Python block of a recipe."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None
    module = types.ModuleType(page.removesuffix(".md").replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(found.group(1), page, "exec"), module.__dict__)
    return module


def test_the_reader_of_the_recipe_reads_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = module_of("add-a-reader.md", monkeypatch).PngReader
    pixels = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    (tmp_path / "b.png").write_bytes(b"not a picture")

    assert reader.can_open(path)
    assert not reader.can_open(tmp_path / "b.png")
    source = reader.open(path)
    (level,) = source.facts.levels
    assert (level.height, level.width) == (700, 900)
    np.testing.assert_array_equal(source.read_tile(0, 1, 1), pixels[512:, 512:])
    assert source.read_tile(0, 1, 1, denominator=8).shape == (24, 49, 3)
    source.close()


def test_the_aggregator_of_the_recipe_keeps_to_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    aggregator = module_of("add-an-aggregator.md", monkeypatch).LsePool
    tasks = (Classification(name="a"), Regression(name="b"))
    model = aggregator.build(tasks=tasks, features=6, options={}, generator=torch.Generator().manual_seed(0))
    bag = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    output = model(bag, explain=True)
    assert output.tasks["a"].tile_logits.shape == (9, 1)
    torch.testing.assert_close(model(bag.flip(0)).tasks["a"].logits, output.tasks["a"].logits)
    output.tasks["a"].logits.sum().backward()
    assert all(parameter.grad is None for parameter in model.task_parameters("b"))
    with pytest.raises(ValueError, match="unknown"):
        aggregator.build(tasks=tasks, features=6, options={"unknown": 1})


def test_the_balancing_method_of_the_recipe_keeps_to_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    method = module_of("add-a-balancing-method.md", monkeypatch).UnitSum()
    rows = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(method(rows, generator=torch.Generator()), torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(method(1e-20 * rows, generator=torch.Generator()), torch.tensor([2e-20, 2e-20]))
    torch.testing.assert_close(method(rows[:1], generator=torch.Generator()), rows[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_of_a_page_is_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_command_in_the_readme_exists() -> None:
    from napari_mtlpath.cli.main import app

    known = {command.callback.__name__.replace("_", "-") for command in app.registered_commands}
    named = set(re.findall(r"`mtlpath ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named == known
