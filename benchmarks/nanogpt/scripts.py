"""Our two scripts: those of two records of shakespeare-2cpu, smaller, to the loss where nanoGPT's CPU recipe ends.

Settings were chosen on the last tenth of the training text, held back. `plain` is a transformer whose matrices are
moved by Muon; `ngram` is told which n-grams it reads. A script under the referee is one file that reads no other, so
each is written out before it runs.
"""

import re
from pathlib import Path

from harness.formats import layout

RECORDS = layout.ROOT / layout.RECORDS_DIR / "shakespeare-2cpu"
SETTINGS: dict[str, tuple[str, dict[str, object]]] = {  # name -> record, and what is set otherwise
    "plain": (
        "2026-11-22_Muon",
        {"WIDTH": 128, "HEADS": 4, "LAYERS": 2, "STEPS": 240, "LENGTH": 64, "BATCH": 16, "EVAL_WINDOW": 64},
    ),
    "ngram": (
        "2026-11-22_ReadOnce",
        {"TABLES": {2: 8_192, 3: 65_536, 4: 65_536}, "STEPS": 20, "MATRIX_RATE": 0.03, "TABLE_RATE": 0.3},
    ),
}


def write_script(name: str, folder: Path) -> Path:
    """folder/<name>.py: the record's script with our settings. Raises ValueError where it lacks one."""
    record, settings = SETTINGS[name]
    source = (RECORDS / record / "train_gpt.py").read_text()
    for setting, value in settings.items():
        source, count = re.subn(rf"^{setting} = .*?(?=  #|$)", f"{setting} = {value!r}", source, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"expected one line {setting} = ... in the script of {record}, found {count}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(source)
    return path
