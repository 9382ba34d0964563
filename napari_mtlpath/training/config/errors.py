"""What is wrong with a training config, in sentences that name the key as users write it."""

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from napari_mtlpath.nn.options import nearest


def sentences(error: ValidationError, config: Any) -> list[str]:  # noqa: ANN401  whatever pydantic validates
    """Return one sentence per wrong key: its name, what is allowed, what was found; the nearest name for a typo.

    Parameters
    ----------
    error
        What pydantic raised.
    config
        The type that it validated: a :class:`pydantic.BaseModel` or a union of several.
    """
    return [_sentence(dict(detail), config) for detail in error.errors()]


def _sentence(detail: dict[str, Any], config: Any) -> str:  # noqa: ANN401
    words, known = _key(detail["loc"], config)
    key = ".".join(words) or "config"
    match detail["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is not a known key.{nearest(words[-1], known)} Known there: {', '.join(sorted(known))}"
        case _:
            return f"{key}: {detail['msg'].lower()}, found {detail['input']!r}"


def _key(location: tuple[str | int, ...], config: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
    """Return a key without the tags that pydantic adds for the members of a union, and the keys known beside it."""
    words: list[str] = []
    known: list[str] = []
    current = config
    for part in location:
        if get_origin(current) is dict:  # a table by names that the user chose
            words.append(str(part))
            current = get_args(current)[1]
            continue
        models = _models(current)
        tagged = [model for model in models if len(models) > 1 and part in _tags(model)]
        if tagged:
            current = tagged[0]
            continue
        words.append(str(part))
        if isinstance(part, int):
            continue
        fields = models[0].model_fields if len(models) == 1 else {}
        known = list(fields)
        current = fields[part].annotation if part in fields else None
    return words, known


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _tags(model: type[BaseModel]) -> set[object]:
    literals = [field.annotation for field in model.model_fields.values() if field.is_required()]
    return {value for literal in literals if get_origin(literal) is Literal for value in get_args(literal)}
