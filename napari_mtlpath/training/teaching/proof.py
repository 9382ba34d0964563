"""The proof beside a taught model: what was compared, what was found, and how to do it again."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from napari_mtlpath.training.teaching.guard import GuardResult
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.training.teaching.report import Taught
from napari_mtlpath.zoo.model import SlideModel

PROOF_FILE = "proof.json"


def proof_of(taught: Taught, result: GuardResult) -> dict[str, Any]:
    """Return the proof of a taught model as plain values; the same teaching gives the same proof.

    No time, and no name of a slide: only fingerprints.
    """
    return {
        "lessons": [_lesson_facts(lesson, further=lesson.task.name in taught.retrained) for lesson in taught.lessons],
        "mode": taught.config.mode,
        **({} if taught.encoder is None else {"encoder": encoder_facts(taught)}),
        **guard_facts(result, taught.reference.bags),
        "parent": parent_facts(taught.parent),
        "config": taught.config.model_dump(),
        "seed": taught.config.seed,
        "learned_on": {"device": str(taught.facts.get("device", "")), "threads": taught.config.threads},
    }


def _lesson_facts(lesson: Lesson, *, further: bool) -> dict[str, Any]:
    counts = lesson.counts()
    return {
        "task": asdict(lesson.task),
        "taught": "further" if further else "anew",
        "sha256": lesson.digest(),
        "labels": {"tiles": dict(counts.tiles), "slides": dict(counts.slides), "origins": dict(counts.origins)},
    }


def encoder_facts(taught: Taught) -> dict[str, Any]:
    """Return how the encoder of a taught model came from its parent's."""
    assert taught.encoder is not None
    return {
        "blocks": taught.config.encoder_blocks,
        "before": taught.parent.card.encoder_sha256,
        "after": taught.encoder.digest,
    }


def guard_facts(result: GuardResult, bags: Sequence[TaughtBag]) -> dict[str, Any]:
    """Return what the guard found, on which bags, and on what it was computed."""
    return {
        "statement": result.sentence,
        "identical": result.identical,
        "answers_sha256": {"before": result.before, "after": result.after},
        "weights_sha256": {"before": result.weights_before, "after": result.weights_after},
        "deltas": {name: asdict(delta) for name, delta in result.deltas.items()},
        "reference_bags": [{"fingerprint": bag.fingerprint, "tiles": len(bag.features)} for bag in bags],
        "compared_on": {"device": "cpu", "machine": platform.machine(), "torch": torch.__version__},
    }


def parent_facts(model: SlideModel) -> dict[str, str]:
    """Return which model was taught."""
    return {"name": model.name, "digest": model.digest, "weights_sha256": model.card.weights_sha256}


def proof_text(facts: Mapping[str, Any]) -> str:
    """Return the text of proof.json."""
    return json.dumps(facts, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
