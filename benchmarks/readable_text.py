"""How much natural language a sandbox shows, by kind, and what a model that has read it knows of a track's text.

    python -m benchmarks.readable_text [--worth shared/data/tinyshakespeare.txt]

Bytes are counted per track (its allowed packages) over what `harness/sandbox/software.py` shows, and over what was
shown before there was a whitelist: all of /usr but its folders of texts, /opt, the interpreter and its environment
whole. Text is: strings in three quotes and comments of Python, comments of C and C++, and lines of other readable files
that look like sentences.

--worth: a mixture of byte n-grams of orders 0 to 5 (interpolated by Witten and Bell's rule) fitted on sentences drawn
from that text, its loss on the last tenth of a text in nats a byte, beside no text at all, and the first nine tenths of
the same text.
"""

import argparse
import math
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.formats.track import list_tracks
from harness.sandbox import software

PYTHON_TEXT = re.compile(r"""\"{3}.*?\"{3}|'{3}.*?'{3}|(?:(?<=\n)|(?<=\s))#[^\n]*""", re.DOTALL)
C_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
WORDS = re.compile(r"[A-Za-z][a-z]+")
HEADERS = (".h", ".hh", ".hpp", ".cuh", ".c", ".cc", ".cpp", ".cu", ".inc", ".inl", ".tcc", "")
MOST_BYTES = 2**22  # of one file
ORDER = 5
BEFORE = ("/usr", "/opt")
BEFORE_HIDDEN = ("/usr/share", "/usr/local/share", "/usr/local/man", "/usr/games", "/usr/src", "/usr/local/src")


def files(nodes: Iterable[software.Node]) -> Iterator[Path]:
    """Every file that nodes show."""
    for node in nodes:
        if node.shown and not node.is_folder:
            yield Path(node.path)
        elif node.shown:
            yield from below(Path(node.path))
        yield from files(node.children)


def below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(parent, name) not in BEFORE_HIDDEN]
        yield from (Path(parent, name) for name in names if not os.path.islink(os.path.join(parent, name)))


def text_of(path: Path) -> tuple[str, str]:
    """Kind and natural language of a file; nothing of binaries and compiled Python, which repeat the sources."""
    try:
        if path.stat().st_size > MOST_BYTES or not path.is_file():
            return "", ""
        raw = path.read_bytes()
    except OSError:
        return "", ""
    if b"\0" in raw[:4096]:
        return "", ""
    text = raw.decode("utf-8", "replace")
    if path.suffix in (".py", ".pyi"):
        return "Python", "\n".join(match[0] for match in PYTHON_TEXT.finditer(text))
    if path.suffix in HEADERS and ("/*" in text or "//" in text):
        return "C and C++", "\n".join(match[0] for match in C_COMMENT.finditer(text))
    return "other", "\n".join(line for line in text.splitlines() if is_sentence(line))


def is_sentence(line: str) -> bool:
    words = WORDS.findall(line)
    return len(words) >= 4 and sum(map(len, words)) > 0.6 * len(line.strip())


def counted(paths: Iterable[Path]) -> tuple[Counter[str], list[str]]:
    """Bytes by kind, and the text; a file reached twice counts once."""
    sizes: Counter[str] = Counter()
    texts = []
    for path in dict.fromkeys(paths):
        kind, text = text_of(path)
        if text:
            sizes[kind] += len(text.encode())
            texts.append(text)
    return sizes, texts


def drawn_sentences(texts: Iterable[str], most: int) -> bytes:
    """At most so many bytes of different lines that look like sentences: whole texts are mostly code."""
    lines = sorted({line.strip(" #*/\t") for text in texts for line in text.splitlines() if is_sentence(line)})
    random.Random(0).shuffle(lines)
    return "\n".join(lines).encode()[:most]


def worth(text: bytes, validation: bytes) -> float:
    """Nats a byte of byte n-grams of orders 0 to ORDER, interpolated (Witten and Bell 1991), fitted on a text."""
    counts: list[dict[bytes, Counter[int]]] = [{} for _ in range(ORDER + 1)]
    for order, table in enumerate(counts):
        for place in range(order, len(text)):
            table.setdefault(text[place - order : place], Counter())[text[place]] += 1
    total = 0.0
    sums = [{context: sum(found.values()) for context, found in table.items()} for table in counts]
    for place in range(ORDER, len(validation)):
        chance = 1 / 256
        for order in range(ORDER + 1):
            context = validation[place - order : place]
            found = counts[order].get(context)
            if found is None:
                break
            types, seen = len(found), sums[order][context]
            chance = (found[validation[place]] + types * chance) / (seen + types)
        total -= math.log(chance)
    return total / (len(validation) - ORDER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worth", type=Path, help="a text whose last tenth is predicted")
    parser.add_argument("--most", type=int, default=4_000_000, help="bytes of readable text that are learned")
    options = parser.parse_args()
    before = [path for name in (*BEFORE, *map(str, software.prefixes(None))) for path in below(Path(name))]
    sizes, _ = counted(before)
    print(f"before a whitelist: {sum(sizes.values()):,} bytes", dict(sizes), flush=True)
    known: dict[tuple[str, ...], list[str]] = {}
    for track in list_tracks():
        imports = track.rules.imports
        if imports not in known:
            sizes, known[imports] = counted(files(software.nodes(None, imports)))
        print(f"{track.name} ({', '.join(imports)}): {sum(sizes.values()):,} bytes", dict(sizes), flush=True)
    if options.worth:
        told = options.worth.read_bytes()
        cut = len(told) * 9 // 10
        sentences = drawn_sentences(next(iter(known.values())), options.most)
        validation = told[cut:]
        print(f"of {len(validation):,} bytes, nats a byte: uniform {math.log(256):.3f}", flush=True)
        for name, text in {"sentences that can be read": sentences, "the first nine tenths": told[:cut]}.items():
            print(f"{name} ({len(text):,} bytes): {worth(text, validation):.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
