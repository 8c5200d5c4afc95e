"""speedrun schemas: JSON Schemas of everything on disk and of every `--json` output."""

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from ..formats import layout
from ..schemas import FORMS, schema, write_schemas


def schemas(
    name: Annotated[str | None, typer.Argument(help="Print this one.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write all of them to docs/schemas/.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of them, as one object by name.")] = False,
) -> None:
    """List, print or write the JSON Schemas: what a program that is not ours may rely on.

    They come from the models that read and write the files, so they are never behind them.
    """
    if write:
        changed = write_schemas()
        print("\n".join([*map(str, changed), f"{len(changed)} of {len(FORMS)} written to {layout.SCHEMAS}"]))
    elif name is not None:
        print(json.dumps(schema(name), indent=1))
    elif as_json:
        print(json.dumps({name: schema(name) for name in FORMS}, indent=1))
    else:
        table = Table("schema", "describes", box=box.SIMPLE_HEAD, pad_edge=False)
        for known, form in FORMS.items():
            table.add_row(known, form.describes)
        Console().print(table)
