"""One slide in this process: what is written, what is refused, and who ends what hangs."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from cohort_parts import TILE_UM, planned, small_recipe, write_slides
from synthetic import tissue, write_aperio_like

from napari_mtlpath.cohort.claims import claim, verdict
from napari_mtlpath.cohort.ledger import Entry, Ledger, Status
from napari_mtlpath.cohort.plan import entry_of
from napari_mtlpath.cohort.recipe import recipe_for
from napari_mtlpath.cohort.worker import OutputRefused, WrongEncoder, extract_slide
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.encoders.parity import agreement
from napari_mtlpath.features.h5 import FeatureLayout, LengthUnit, read_features
from napari_mtlpath.inference.encode import encode
from napari_mtlpath.inference.plan import plan_for
from napari_mtlpath.inference.tile_reader import read_tile
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resolution import ResolutionMemory

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed: pip install openvino"
)


@pytest.fixture
def scans(tmp_path):
    return write_slides(tmp_path / "scans", a=400, b=300)


def job_of(scans, tmp_path, name="a.svs", **options):
    (job,) = planned(f"{scans}/{name}", tmp_path / "out", **options).jobs
    return job


def test_file_holds_the_embeddings_of_all_tissue_tiles_as_stamp_reads_them(scans, tmp_path):
    job = job_of(scans, tmp_path)
    outcome = extract_slide(job)
    file = read_features(Path(job.target))
    encoder = load_encoder(job.recipe.encoder)
    assert (file.layout, file.unit, file.tile_side, file.tile_px) == (
        FeatureLayout.STAMP,
        LengthUnit.MICRONS,
        TILE_UM,
        encoder.tile_px,
    )
    assert file.extractor == f"small-stats-{encoder.digest[:8]}"
    assert len(file.features) == outcome.tiles > 10
    slide = open_slide(scans / "a.svs")
    encoding = SimpleNamespace(
        card=SimpleNamespace(name="x", tile=job.recipe.tile), encoder=encoder, device=torch.device("cpu")
    )
    plan = plan_for(slide, encoding)
    tiles = np.stack([read_tile(slide, plan.grid, index) for index in plan.indices[:5].tolist()])
    np.testing.assert_array_equal(file.features[:5], encode(encoding, tiles))
    np.testing.assert_allclose(file.coords, plan.grid.corners_um(plan.indices))
    slide.close()


def test_same_slide_gives_the_same_bytes_whenever_it_is_done(scans, tmp_path):
    job = job_of(scans, tmp_path)
    extract_slide(job)
    first = Path(job.target).read_bytes()
    with h5py.File(job.target, "r") as file:
        assert not [name for name in file.attrs if "time" in name or "date" in name]
    Path(job.target).unlink()
    extract_slide(job)
    assert Path(job.target).read_bytes() == first


def test_features_say_nothing_about_who_the_slide_is_of(scans, tmp_path):
    job = job_of(scans, tmp_path)
    extract_slide(job)
    content = Path(job.target).read_bytes()
    assert b"PHI-CANARY" not in content
    assert str(scans).encode() not in content


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"II*\0 nothing"), "is damaged"),
        (lambda path: shutil.copy(path.with_name("b.svs"), path), "not what it was when the run began"),
    ],
)
def test_broken_or_exchanged_slide_is_an_outcome_with_its_reason(scans, tmp_path, damage, words):
    if words == "not what it was when the run began":
        job = job_of(scans, tmp_path)
        damage(scans / "a.svs")
    else:
        damage(scans / "a.svs")
        job = job_of(scans, tmp_path)
    outcome = extract_slide(job)
    assert outcome.status is Status.QUARANTINED
    assert words in outcome.reason
    assert not Path(job.target).exists()
    assert not list(Path(job.claim).parent.glob("*"))


def test_slide_that_cannot_even_be_looked_at_is_put_aside_before_the_run(scans, tmp_path):
    (scans / "a.svs").write_bytes(b"")
    plan = planned(scans, tmp_path / "out")
    assert [entry.reason for entry in plan.quarantined] == [
        "'a.svs' is empty (0 bytes). Copy or download the slide again."
    ]
    assert [Path(job.slide).name for job in plan.jobs] == ["b.svs"]


def test_slide_without_resolution_asks_for_it_and_takes_it(scans, tmp_path):
    write_aperio_like(scans / "c.svs", tissue(300, 300), mpp=None)
    assert "pass --mpp" in extract_slide(job_of(scans, tmp_path, "c.svs")).reason
    job = job_of(scans, tmp_path, "c.svs", mpp=0.5)
    assert extract_slide(job).status is Status.DONE


def test_resolution_that_a_user_typed_for_a_slide_is_used(scans, tmp_path):
    plain = job_of(scans, tmp_path)
    ResolutionMemory().remember(plain.fingerprint, (0.25, 0.25), author="tester")
    job = job_of(scans, tmp_path)
    assert job.mpp == (0.25, 0.25)
    assert job.key != plain.key


def test_slide_without_a_readable_tile_is_broken_and_one_with_some_says_how_many(scans, tmp_path, monkeypatch):
    job = job_of(scans, tmp_path)
    reads = []

    def unreadable(slide, grid, index):
        reads.append(index)
        return None if len(reads) > readable else read_tile(slide, grid, index)

    monkeypatch.setattr("napari_mtlpath.inference.stream.read_tile", unreadable)
    readable = 0
    assert "tissue tiles could be read" in extract_slide(job).reason
    readable = len(reads) - 3
    reads.clear()
    outcome = extract_slide(job)
    assert (outcome.status, outcome.unreadable, outcome.tiles) == (Status.DONE, 3, readable)
    with h5py.File(job.target, "r") as file:
        assert (file.attrs["unreadable_tiles"], len(file["feats"])) == (3, readable)


def test_result_that_cannot_be_written_stops_the_run(scans, tmp_path):
    job = job_of(scans, tmp_path)
    Path(job.target).mkdir(parents=True)  # a folder where the file should go
    with pytest.raises(OutputRefused, match="cannot be written"):
        extract_slide(job)


def test_worker_with_another_encoder_refuses(scans, tmp_path):
    recipe = replace(small_recipe(), encoder_digest="0" * 64)
    with pytest.raises(WrongEncoder, match="same models folder"):
        extract_slide(job_of(scans, tmp_path, recipe=recipe))


def test_encoder_for_any_magnification_asks_how_large_a_tile_is():
    with pytest.raises(ValueError, match="--tile-um"):
        recipe_for("colour-stats", tile_um=None)


def test_slide_that_cost_three_workers_is_not_tried_again(scans, tmp_path):
    job = job_of(scans, tmp_path)
    left = [claim(job.claim) for _ in range(3)]
    assert "killed its worker 3 times" in extract_slide(job).reason
    left[0].unlink()
    assert extract_slide(job).status is Status.DONE


def test_process_whose_work_is_silent_is_ended_with_a_reason(tmp_path):
    stem = str(tmp_path / "slide")
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from napari_mtlpath.cohort.watchdog import Watchdog\n"
        "with Watchdog(Path(sys.argv[1]), 0.2) as watchdog:\n"
        "    for _ in range(10):\n"
        "        watchdog.alive()\n"
        "        time.sleep(0.01)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(claim(stem))], timeout=50, check=False)
    assert done.returncode == -9
    assert verdict(stem) == "Nothing was heard of it for 0.2 s, so its process was ended."


def test_what_agrees_is_done_and_what_changed_is_not(scans, tmp_path):
    out = tmp_path / "out"
    for job in planned(scans, out).jobs:
        extract_slide(job)
    # The files say themselves what they are, so a lost ledger costs nothing.
    plan = planned(scans, out)
    assert (len(plan.done), plan.jobs) == (2, ())
    assert len(planned(scans, out, recipe=small_recipe(32.0)).jobs) == 2
    assert len(planned(scans, out, mpp=0.4).jobs) == 2
    shutil.copy(scans / "b.svs", scans / "a.svs")
    plan = planned(scans, out)
    assert [Path(job.slide).name for job in plan.jobs] == ["a.svs"]
    assert plan.notes == ("b.svs has the same content as a.svs.",)
    (out / "b.h5").write_bytes((out / "b.h5").read_bytes()[:-1])
    assert len(planned(scans, out).jobs) == 2


def test_broken_slides_are_tried_again_when_asked_or_changed(scans, tmp_path):
    out = tmp_path / "out"
    jobs = planned(scans, out).jobs
    with Ledger(out) as ledger:
        ledger.add(entry_of(jobs[0], out, status=Status.QUARANTINED, reason="It is damaged."))
    plan = planned(scans, out)
    assert ([entry.reason for entry in plan.quarantined], len(plan.jobs)) == (["It is damaged."], 1)
    assert len(planned(scans, out, retry=True).jobs) == 2
    shutil.copy(scans / "b.svs", jobs[0].slide)
    assert len(planned(scans, out).jobs) == 2


def test_folder_with_features_of_another_encoder_is_refused(scans, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "x.h5").touch()
    with Ledger(out) as ledger:
        ledger.add(Entry(target="x.h5", slide="x", fingerprint="f", recipe="r", encoder="other-1", status=Status.DONE))
    with pytest.raises(ValueError, match="Choose a folder per encoder"):
        planned(scans, out)


@needs_openvino
def test_features_through_openvino_are_torchs_under_a_digest_of_their_own(scans, tmp_path):
    plain, fast = (recipe_for("tissue-small", tile_um=None, backend=backend) for backend in ("torch", "auto"))
    assert (plain.backend, fast.backend) == ("torch", "openvino")
    assert plain.encoder_digest == load_encoder("tissue-small").digest != fast.encoder_digest
    assert plain.key(None) != fast.key(None)
    found = {}
    for name, recipe in (("torch", plain), ("openvino", fast)):
        (job,) = planned(f"{scans}/a.svs", tmp_path / name, recipe=recipe).jobs
        extract_slide(job)
        file = read_features(Path(job.target))
        assert file.extractor == f"tissue-small-{recipe.encoder_digest[:8]}"
        found[name] = file.features
    assert agreement(found["torch"], found["openvino"]).enough


def test_auto_is_torch_where_openvino_is_not_installed(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "openvino" else find(name, *rest)
    )
    recipe = recipe_for("colour-stats", tile_um=16.0, backend="auto")
    assert recipe.backend == "torch"
    assert recipe.encoder_digest == load_encoder("colour-stats").digest
    with pytest.raises(ValueError, match="The backend 'openvino' is missing"):
        recipe_for("colour-stats", tile_um=16.0, backend="openvino")
