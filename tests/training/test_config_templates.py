"""Templates parse, and `--check` says what a config would train."""

import re
import tomllib
from pathlib import Path

import pytest
from made_cohort import cohort_config, write_cohort

from napari_mtlpath.tables.problems import TableError
from napari_mtlpath.training.check import check
from napari_mtlpath.training.config.reading import ConfigError
from napari_mtlpath.training.config.template import template, template_names
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.zoo.aggregators import AGGREGATORS


@pytest.mark.parametrize("name", template_names())
def test_every_template_is_a_commented_config_that_parses(name: str):
    text = template(name)
    config = parse_config(tomllib.loads(text))
    assert text.startswith("# ")
    assert text.count("  #") > 5
    assert "@" not in text
    if config.kind == "bags":
        kind = AGGREGATORS.load(config.aggregator.name)
        tasks = [table.task() for table in config.data.tasks]
        options = config.aggregator.options
        assert kind.build(tasks=tasks, features=4, options=options | {"width": 48} if "width" in options else {})


def test_mecds_template_has_the_published_defaults():
    config = parse_config(tomllib.loads(template("mecds")))
    assert config.distillation is not None
    loss = config.distillation.binary_loss()
    assert (loss.temperature, loss.positive_focus, loss.negative_focus, loss.margin) == (2.0, 1.0, 4.0, 0.2)
    assert (config.optimisation.epochs, config.optimisation.batch, config.optimisation.learning_rate) == (50, 16, 1e-4)


def test_unknown_template_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"no template 'mecd'. Did you mean 'mecds'\? Known: .*tiles"):
        template("mecd")


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"distilation": {}}, r"distilation is not a known key. Did you mean 'distillation'\? Known there: .*encoder"),
        ({"distillation": {"knd": "kl"}}, r"distillation.knd is not a known key. Did you mean 'kind'\?"),
        ({"distillation": {"kind": "akt"}}, r"distillation.kind: .*'akd' or 'kl', found 'akt'"),
        ({"sampling": {"tile_share": 0}}, r"sampling.tile_share: .*greater than 0, found 0"),
    ],
)
def test_typos_are_answered_with_the_nearest_key(tables: dict[str, object], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        cohort_config(tables=tables)


def test_a_typo_in_data_names_the_key_as_users_write_it():
    with pytest.raises(ConfigError, match=r"data\.fold is not a known key. Did you mean 'folds'\?"):
        cohort_config(fold=3)
    wrong = [{"name": "tumour", "knid": "regression"}]
    with pytest.raises(ConfigError, match=r"data\.tasks\.0\.knid is not a known key. Did you mean 'kind'\?"):
        cohort_config(tasks=wrong)


def test_check_says_what_would_be_trained_and_trains_nothing(tmp_path: Path):
    write_cohort(tmp_path, patients=20)
    config = cohort_config(folds=2, tables={"distillation": {"teacher_epochs": 3}})
    said = list(check(config, data=(tmp_path,)))
    assert "Fold 2 of 2:" in said
    assert any(line.startswith("train: ") and "grade: " in line and " values" in line for line in said)
    assert any(re.fullmatch(r"A teacher is trained first, for 3 epochs of \d+ bags \(balanced\)\.", s) for s in said)
    assert said[-1].startswith("MeanPool with 215 parameters learns for 6 epochs of ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clinical.csv", "features", "slides.csv"]


def test_check_says_all_faults_of_the_tables_at_once(tmp_path: Path):
    write_cohort(tmp_path, patients=20)
    for name in ("p1-0.h5", "p3-1.h5"):
        (tmp_path / "features" / name).unlink()
    with pytest.raises(TableError) as caught:
        list(check(cohort_config(), data=(tmp_path,)))
    assert "p1-0.svs" in str(caught.value)
    assert "p3-1.svs" in str(caught.value)


def test_check_warns_of_a_task_that_cannot_be_learned(tmp_path: Path):
    write_cohort(tmp_path, patients=20)
    text = (tmp_path / "clinical.csv").read_text().replace(",yes,", ",no,")
    (tmp_path / "clinical.csv").write_text(text)
    said = list(check(cohort_config(), data=(tmp_path,)))
    assert any("'tumour' has only the label 0 in the training part" in line for line in said)
