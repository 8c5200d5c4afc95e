"""Answers: what a command prints with `--json`, from typed objects; the schemas come from their types."""

import json

from pydantic_core import to_jsonable_python


def json_text(answer: object, indent: int | None = 1) -> str:
    """An answer made of models and dataclasses."""
    return json.dumps(to_jsonable_python(answer), indent=indent)
