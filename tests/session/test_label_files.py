"""Labels from a table find their slides; what cannot be used is said in a sentence and changes nothing."""

import numpy as np
import pytest
from label_fakes import LabelSlide, label_model, put_features
from session_fakes import FakeAnalysis
from synthetic import tissue, write_aperio_like

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.session.label_files import export_geojson, import_geojson, import_table
from napari_mtlpath.session.label_suggestions import suggested_tiles
from napari_mtlpath.session.session import Session

DRAFT = TaskDraft.made(title="Eosinophils", kind=TaskKind.BINARY)


@pytest.fixture
def session():
    session = Session(store=FeatureStore(None), analyse=lambda *a: FakeAnalysis(*a, talk=False))
    session.labels.wake()
    session.set_model(label_model())
    for letter in "ba":
        session.attach_slide(LabelSlide(letter * 64, name=f"{letter}.svs"))
        assert session.labels.settle()
    session.labels.define(DRAFT)
    yield session
    session.close()


def _table(tmp_path, text):
    path = tmp_path / "cohort.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_labels_slides_that_were_open_before(session, tmp_path):
    said = import_table(
        session, _table(tmp_path, "FILENAME,eosinophils\na.svs,present\nb,absent\nc.svs,present\nd.svs,\n")
    )
    assert said == "cohort.csv: 2 slides labelled. Left out, because never open here and not beside the table: 'c.svs'."
    found = {slide.name: (slide.labels.slide, slide.labels.slide_origin) for slide in session.labels.labelled_slides()}
    assert found == {"a.svs": (1.0, Origin.TABLE), "b.svs": (0.0, Origin.TABLE)}


def test_a_table_labels_slides_that_lie_beside_it(session, tmp_path):
    write_aperio_like(tmp_path / "new.svs", tissue(512, 512), mpp=0.5)
    (tmp_path / "broken.svs").write_bytes(b"nothing")
    said = import_table(session, _table(tmp_path, "FILENAME,eosinophils\nnew.svs,present\nbroken.svs,absent\n"))
    assert "1 slide labelled" in said
    assert "'broken.svs'" in said
    assert [slide.name for slide in session.labels.labelled_slides()] == ["new.svs"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FILENAME,eosinophils\nx.svs,present\n", "None of the 1 slides in cohort.csv was ever open here"),
        ("FILENAME,eosinophils\na.svs,\n", "every cell is empty"),
        ("FILENAME,other\na.svs,present\n", "no column 'eosinophils'"),
        ("FILENAME,eosinophils\na.svs,perhaps\n", "'perhaps' is none of the classes"),
    ],
)
def test_a_table_that_cannot_be_used_changes_nothing(session, tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        import_table(session, _table(tmp_path, text))
    assert session.labels.counts().total == 0


def test_labels_of_a_table_teach_with_the_cached_features(session, tmp_path):
    put_features(session.store, session.labels.place)
    import_table(session, _table(tmp_path, "FILENAME,eosinophils\na.svs,present\nb.svs,absent\n"))
    (lesson,) = session.labels.lessons()
    assert [(bag.name, bag.label, bag.origins) for bag in lesson.bags] == [("a.svs", 1.0, {"table": 1})]


def test_a_file_goes_out_and_in_and_is_undone_as_one(session, tmp_path):
    session.labels.label_tiles([3, 4], 1.0)
    session.labels.label_tiles([5], 0.0)
    path = tmp_path / "labels.geojson"
    assert export_geojson(session.labels, path) == "3 labelled tiles written to labels.geojson."
    session.labels.label_tiles([3, 4, 5], None)
    assert import_geojson(session.labels, path) == "labels.geojson: 3 single tiles imported."
    assert len(session.labels.labels.tiles) == 3
    session.labels.undo()
    assert session.labels.labels.tiles == {}
    with pytest.raises(ValueError, match="nothing was written"):
        export_geojson(session.labels, tmp_path / "empty.geojson")
    assert not (tmp_path / "empty.geojson").exists()


def test_only_tissue_that_was_analysed_and_has_no_label_is_suggested(session):
    place = session.labels.place
    known = put_features(session.store, place, but=range(100))
    session.labels.label_tiles(known[:5], 1.0)
    chosen = suggested_tiles(session, count=30, seed=0)
    assert len(np.unique(chosen)) == 30
    assert set(chosen.tolist()) <= set(known[5:].tolist())
