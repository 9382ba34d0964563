"""`mtlpath add-task` makes of files what the viewer makes of the same labels, bit by bit, and says what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from session_fakes import FakeAnalysis
from synthetic import tissue, write_pyramid
from taught_world import FINE, bag_of, saved_model, tiny_encoder
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.features.h5 import write_features
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.plan import plan_for
from napari_mtlpath.inference.stream import embed_slide
from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.geojson_write import write_geojson
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.review.tile_labels import Labels, TileLabel
from napari_mtlpath.session.label_files import export_geojson
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.teaching_view import TeachingPhase
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.model import SlideModel

QUICK = {"steps": 2, "refresh_every": 2, "batch": 2, "largest_bag": 16}
SETTINGS = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
DRAFT = TaskDraft.made(title="Spotty", kind=TaskKind.BINARY)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with the model `parent` and the slide ``a.tif`` of some tens of tiles."""
    saved_model(tmp_path)
    write_pyramid(tmp_path / "a.tif", tissue(224 * 6, 224 * 7), mpp=0.25)
    return tmp_path


@pytest.fixture
def encoder_world(tmp_path: Path) -> Path:
    """The same with a tiny encoder that can learn, and a second slide ``b.tif``."""
    saved_model(tmp_path, own=tiny_encoder(), tile=FINE)
    for name, seed in (("a", 0), ("b", 1)):
        write_pyramid(tmp_path / f"{name}.tif", tissue(224 * 6, 224 * 7, seed=seed), mpp=0.25)
    return tmp_path


def add_task(world: Path, *words: str | Path, task: str = "Spotty", out: str = "longer"):
    fixed = ["add-task", "--model", world / "parent", "--device", "cpu", "--task", task, "--out", world / out]
    return CliRunner().invoke(app, [str(word) for word in (*fixed, *SETTINGS, *words)])


def tissue_tiles(world: Path) -> np.ndarray:
    return plan_for(open_slide(world / "a.tif"), load_model(world / "parent", device="cpu")).indices


def write_labels(world: Path, name: str = "a.geojson") -> Path:
    slide, model = open_slide(world / "a.tif"), load_model(world / "parent", device="cpu")
    plan = plan_for(slide, model)
    tiles = {
        int(index): TileLabel(value=float(number % 2), origin=Origin.TILE)
        for number, index in enumerate(plan.indices[:14])
    }
    write_geojson(world / name, Labels(tiles=tiles), DRAFT, plan.grid, slide=slide.name, fingerprint=slide.fingerprint)
    return world / name


def teach_in_the_viewer(world: Path, settings: dict, name: str, *, before: tuple[str, ...] = ()) -> None:
    """Label a slide and teach as the viewer does, after other slides were open; export the labels."""
    model, store = load_model(world / "parent", device="cpu"), FeatureStore()
    session = Session(store=store, analyse=lambda *a: FakeAnalysis(*a, talk=False))
    session.labels.wake()
    session.set_model(model)
    for file in (*before, "a.tif"):
        slide = open_slide(world / file)
        list(embed_slide(slide, model, store=store))
        session.attach_slide(slide)
        assert session.labels.settle()
    session.labels.define(DRAFT)
    tiles = tissue_tiles(world)
    session.labels.label_tiles(tiles[:6], 1.0)
    session.labels.label_tiles(tiles[6:14], 0.0)
    session.teaching.start(settings)
    session.teaching.settle(250)
    assert session.teaching.view.phase is TeachingPhase.DONE, session.teaching.view
    session.teaching.save(name)
    session.teaching.settle(250)
    export_geojson(session.labels, world / "a.geojson")
    session.close()


def same_weights_and_proof(mine: SlideModel, yours: SlideModel) -> dict:
    """See that two models are the same but for their names, and return their proof."""
    assert mine.card.weights_sha256 == yours.card.weights_sha256
    assert mine.encoder.digest == yours.encoder.digest
    cards = (mine.card, yours.card)
    proofs = [json.loads((card.folder / "proof.json").read_text(encoding="utf-8")) for card in cards]
    for proof in proofs:
        assert proof["lessons"][0]["labels"].pop("origins")  # tiles clicked in one, a file in the other
    assert proofs[0] == proofs[1]
    return proofs[0]


def test_viewer_and_command_line_give_the_same_weights_and_the_same_proof(world: Path):
    teach_in_the_viewer(world, QUICK, "from-the-viewer")
    result = add_task(world, "--labels", world / "a.geojson", "--slides", world / "a.tif")
    assert result.exit_code == 0, result.output
    proof = same_weights_and_proof(
        load_model("from-the-viewer", device="cpu"), load_model(world / "longer", device="cpu")
    )
    assert proof["identical"]


def test_viewer_and_command_line_train_the_encoder_to_the_same_weights_and_the_same_proof(encoder_world: Path):
    world = encoder_world
    encoder = {"mode": "shared", "encoder_blocks": 1, "encoder_learning_rate": 1e-3}
    teach_in_the_viewer(world, QUICK | encoder, "with-encoder", before=("b.tif",))
    words = ["--mode", "shared", "--encoder-blocks", "1", "--set", "encoder_learning_rate=1e-3"]
    result = add_task(world, "--labels", world / "a.geojson", "--slides", world / "a.tif", *words)
    assert result.exit_code == 0, result.output
    assert "every task's answers change on every slide" in result.output
    assert "dark moved by" in result.output
    parent = load_model(world / "parent", device="cpu")
    mine = load_model("with-encoder", device="cpu")
    proof = same_weights_and_proof(mine, load_model(world / "longer", device="cpu"))
    assert proof["encoder"] == {"blocks": 1, "before": parent.encoder.digest, "after": mine.encoder.digest}
    assert mine.encoder.digest != parent.encoder.digest
    assert len(proof["reference_bags"]) == 2
    assert not proof["identical"]


def test_encoder_is_not_trained_on_slides_that_are_known_by_their_features_only(encoder_world: Path):
    world = encoder_world
    bags = [bag_of(number, labelled=0) for number in (1, 2)]
    features = load_model(world / "parent", device="cpu").encoder.features
    for number, bag in enumerate(bags):
        values = np.resize(bag.features, (len(bag.features), features))
        coords = bag.positions.astype(np.float64) * 56.0
        write_features(world / f"s{number}.h5", values, coords, extractor="tiny", tile_um=56.0, tile_px=32)
    (world / "table.csv").write_text("PATIENT,FILENAME,spotty\np0,s0,absent\np1,s1,present\n", encoding="utf-8")
    words = ["--mode", "shared", "--encoder-blocks", "1", "--features", world]
    result = add_task(world, "--labels", world / "table.csv", *words)
    assert result.exit_code == 1
    assert "is known by its features only, and training the encoder needs its pixels" in " ".join(result.output.split())


def test_result_is_said_in_words_and_as_json(world: Path):
    labels = write_labels(world)
    result = add_task(world, "--labels", labels, "--slides", world / "a.tif", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["tasks"] == ["dark", "share", "stain", "spotty"]
    assert said["proof"]["identical"] is True
    assert said["proof"]["lessons"][0]["labels"]["tiles"] == {"absent": 7, "present": 7}
    again = add_task(world, "--labels", labels, "--slides", world / "a.tif", out="second")
    assert "Taught 'spotty' from 7 tiles absent, 7 tiles present" in again.output
    assert "identical bit by bit" in again.output
    assert load_model(world / "second").card.weights_sha256 == said["weights_sha256"]


def test_cohort_table_with_feature_files_teaches_from_slides_that_are_not_here(world: Path):
    folder = world / "features"
    folder.mkdir()
    rows = ["FILENAME,spotty"]
    for number in range(1, 9):
        bag = bag_of(number, labelled=0, bright=20 * (number % 2))
        write_features(
            folder / f"s{number}.h5",
            bag.features,
            bag.positions * 56.0,
            extractor="colour-stats",
            tile_um=56.0,
            tile_px=224,
        )
        rows.append(f"s{number}.svs,{'present' if number % 2 else 'absent'}")
    (world / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    result = add_task(world, "--labels", world / "labels.csv", "--features", folder, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["proof"]["lessons"][0]["labels"]["slides"] == {"absent": 4, "present": 4}
    missing = add_task(world, "--labels", world / "labels.csv", out="other")
    assert missing.exit_code == 1
    assert (
        "The table names slides that are not here: 's1.svs', 's2.svs', 's3.svs', 's4.svs' and 4 more" in missing.output
    )


def test_existing_task_is_taught_further_and_keeps_its_question(world: Path):
    saved_model(world, name="apart", streams="private")
    (world / "parent").rename(world / "first")
    (world / "apart").rename(world / "parent")
    text = (world / "parent" / "model.toml").read_text(encoding="utf-8")
    (world / "parent" / "model.toml").write_text(text.replace('"apart"', '"parent"'), encoding="utf-8")
    draft = TaskDraft.of(load_model(world / "parent").card.task("dark"))
    labels = write_labels(world)
    text = labels.read_text(encoding="utf-8")
    labels.write_text(text.replace('"spotty"', f'"{draft.name}"'), encoding="utf-8")
    result = add_task(world, "--labels", labels, "--slides", world / "a.tif", "--further", "--json", task="dark")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["tasks"] == ["dark", "share", "stain"]
    assert said["proof"]["lessons"][0]["taught"] == "further"
    assert said["proof"]["identical"] is True


def test_several_tasks_are_taught_at_once_from_a_lessons_file(world: Path):
    write_labels(world)
    text = (world / "a.geojson").read_text(encoding="utf-8")
    (world / "b.geojson").write_text(text.replace('"spotty"', '"striped"'), encoding="utf-8")
    plan = world / "lessons.toml"
    plan.write_text(
        'slides = ["a.tif"]\n[tasks.Striped]\nlabels = ["b.geojson"]\n[tasks.Spotty]\nlabels = ["a.geojson"]\n',
        encoding="utf-8",
    )
    fixed = ["add-task", "--model", world / "parent", "--device", "cpu", "--out", world / "longer", "--json"]
    result = CliRunner().invoke(app, [str(word) for word in (*fixed, *SETTINGS, "--lessons", plan)])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["tasks"] == ["dark", "share", "stain", "spotty", "striped"]
    assert said["proof"]["identical"] is True
    assert [lesson["task"]["name"] for lesson in said["proof"]["lessons"]] == ["spotty", "striped"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("slides = []", "tasks is missing"),
        ("[tasks.a]", "tasks.a.labels is missing"),
        (
            '[tasks.a]\nlabels = ["x.geojson"]\nkindd = "binary"',
            "tasks.a.kindd is not a known key. Did you mean 'kind'?",
        ),
        ("[tasks.a", "is not valid TOML"),
        ('[tasks.a]\nlabels = ["x.csv"]\nfurther = true', "has no task 'a'"),
        (None, "Expected a lessons file"),
    ],
)
def test_what_is_wrong_in_a_lessons_file_is_said_in_one_line(text: str | None, sentence: str, world: Path):
    if text is not None:
        (world / "lessons.toml").write_text(text, encoding="utf-8")
    fixed = ["add-task", "--model", world / "parent", "--out", world / "longer", "--lessons", world / "lessons.toml"]
    result = CliRunner().invoke(app, [str(word) for word in fixed])
    assert result.exit_code == 1, result.output
    assert sentence in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1


@pytest.mark.parametrize("words", [[], ["--task", "a"], ["--task", "a", "--lessons", "lessons.toml"]])
def test_one_task_or_a_lessons_file_is_asked_for(words: list[str], world: Path):
    fixed = ["add-task", "--model", str(world / "parent"), "--out", str(world / "longer")]
    result = CliRunner().invoke(app, [*fixed, *words])
    assert result.exit_code == 1
    assert "--lessons FILE" in result.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--labels", "a.geojson"], "Name the slide's file with --slides"),
        (["--labels", "b.geojson", "--slides", "a.tif", "--slides", "c.tif"], "Which slide do the labels 'b.geojson'"),
        (["--labels", "a.txt"], "found 'a.txt'"),
        (["--labels", "a.geojson", "--slides", "a.tif", "--set", "stepz=3"], "stepz is not a known key. Did you mean"),
        (["--labels", "a.geojson", "--slides", "a.tif", "--kind", "classes"], "class"),
        (["--labels", "a.geojson", "--slides", "a.tif", "--seed", "1"], "no model is ever overwritten"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], sentence: str, world: Path):
    for name in ("a.geojson", "b.geojson"):
        text = write_labels(world, name).read_text(encoding="utf-8")
        (world / name).write_text(text.replace('"slide": "a.tif"', '"slide": "unknown"'), encoding="utf-8")
    (world / "a.txt").touch()
    names = {"a.geojson", "b.geojson", "a.tif", "c.tif", "a.txt"}
    out = "parent" if "--seed" in words else "longer"
    result = add_task(world, *(world / word if word in names else word for word in words), out=out)
    assert result.exit_code == 1, result.output
    assert sentence in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1
    assert not (world / "longer").exists()
