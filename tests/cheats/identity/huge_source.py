"""A source of half a megabyte.

Brings a table along that no budget of source allows. It is refused before a line of it runs.

group: identity
catalogue: 18, 62
status: caught
ends: source_too_big
"""


def before(script, data):
    script.write_text(script.read_text() + "TABLE = '" + "7f" * 250_000 + "'\n")
    return script


def train(run): ...


def load(weights, device): ...
