"""Slide model -> folder: weights, card and README, complete or not at all."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from napari_mtlpath.encoders.readme import figures_text, provenance_text, readme, tile_text
from napari_mtlpath.files import replacing
from napari_mtlpath.zoo.card import MODEL_FILE, MODEL_WEIGHTS, ModelCard, model_toml
from napari_mtlpath.zoo.model_folder import write_model
from napari_mtlpath.zoo.own_encoder import TrainedEncoder, bring_encoder, write_own_encoder


def save_model(
    folder: Path,
    card: ModelCard,
    state: Mapping[str, Tensor],
    *,
    files: Mapping[str, str] | None = None,
    encoder: TrainedEncoder | None = None,
) -> ModelCard:
    """Save a slide model as a model folder, replacing one that is there.

    Parameters
    ----------
    folder
        Where to; its name must be the card's.
    card
        The card; its `weights_sha256` and `folder` are filled in here. Where it comes from a model that carries its own
        encoder, that is copied.
    state
        ``aggregator.state_dict()``, stored as float16.
    files
        More text files of the folder, by name.
    encoder
        What the model carries as its own encoder from now on; the card then names it.

    Returns
    -------
    The card as it was written. Load the model again before measuring it: float16 rounds the weights.
    """

    def bring(temporary: Path) -> ModelCard:
        if encoder is not None:
            return write_own_encoder(encoder, card, temporary)
        bring_encoder(card, temporary)
        return card

    return write_model(
        folder,
        card,
        state,
        texts=lambda written: {MODEL_FILE: model_toml(written), "README.md": model_readme(written), **(files or {})},
        bring=bring,
    )


def rewrite_card(card: ModelCard) -> ModelCard:
    """Write a changed card and its README into the card's folder; the weights stay as they are.

    Raises
    ------
    ValueError
        If the card has no folder yet.
    """
    if card.folder is None:
        raise ValueError(f"Model {card.name!r} was never saved. Save it with save_model first.")
    for name, text in {MODEL_FILE: model_toml(card), "README.md": model_readme(card)}.items():
        with replacing(card.folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return card


def model_readme(card: ModelCard) -> str:
    """Return README.md of a slide model's folder, with all headings that every model's README has."""
    questions = "\n".join(
        f"- `{task.name}` ({task.kind}): {task.question or task.title or task.name}" for task in card.tasks
    )
    use = (
        f"`mtlpath predict SLIDE --model {card.name} --out FOLDER`, or choose it in the viewer.\n\n{questions}\n\n"
        f"{tile_text(card.tile)} Tile encoder: `{card.encoder}`; aggregator: `{card.aggregator}`. "
        f"SHA-256 of `{MODEL_WEIGHTS}`: `{card.weights_sha256}`."
    )
    sections = {
        "Made for": card.made_for,
        "Use": use,
        "Data and training": provenance_text(card.provenance),
        "Figures": f"{figures_text(card.metrics)}\n\n{_calibration_text(card)}".strip(),
        "Limits": card.limits,
        "Licence and attribution": f"{card.licence}. {card.attribution}".strip(),
    }
    return readme(title=card.title or card.name, summary=card.summary, sections=sections)


def _calibration_text(card: ModelCard) -> str:
    if not card.calibration:
        return "No task is calibrated: the model's numbers are scores, not probabilities."
    lines = [
        f"- `{task}`: {table.get('method', 'scaling')}, fitted on {table.get('fitted_on', 'unknown data')}"
        + (f"; calibration error {float(table['ece']):.3f}" if "ece" in table else "")
        for task, table in card.calibration.items()
    ]
    return "Calibrated tasks give probabilities, on data like those they were calibrated on:\n\n" + "\n".join(lines)
