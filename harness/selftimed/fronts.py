"""What stands in front of a result on its line: a rank, a time stamp, a progress bar.

It is left out, and its shape is kept, so that a reader can ask whether all lines have the same.
"""

import re
from functools import lru_cache

_BAR = re.compile(rb"[0-9]{1,3}%\|[^|]{0,200}+\|[^\]]{0,160}+\]\s*+")  # tqdm's, behind its description
DESCRIPTION_BYTES = 80
_NAMES = re.compile(
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b(?s:(?<!\w...))"
)
ZEROS = bytes.maketrans(b"123456789", b"000000000")
_RANK = re.compile(  # torchrun's, mpirun's, srun's
    rb"(?i)(?:\[(?:default|rank|trainer|worker|node|gpu)[ :-]?[0-9]{1,6}\]:?"
    rb"|\[[0-9]{1,6},[0-9]{1,6}\]<std[a-z]{3}>:|\[?(?:rank |trainer-?|worker-?)?[0-9]{1,6}\]?[:|>])$"
)
_RANK_ENDS = (b"]", b":", b"|", b">")
RANK_BYTES = 32
_LETTER = re.compile(rb"[A-Za-z]")


@lru_cache(maxsize=4_096)
def shape(prefix: bytes) -> bytes:
    """What stands before a result, so that two of one kind are equal: digits are `#`, a progress bar is nothing."""
    if prefix in (b"", b"["):  # [step 5]
        return b""
    front = _NAMES.sub(b"Abc", _without_bars(prefix.removeprefix(b"\xef\xbb\xbf"))).translate(ZEROS)
    while b"00" in front:
        front = front.replace(b"00", b"0")
    return front.replace(b"0", b"#")


def _without_bars(prefix: bytes) -> bytes:
    if b"%|" not in prefix or b"]" not in prefix:
        return prefix
    rest, at = b"", 0
    for bar in _BAR.finditer(prefix):
        begins = max(at, prefix.rfind(b"|", at, bar.start()) + 1, bar.start() - DESCRIPTION_BYTES)
        rest, at = rest + prefix[at:begins], bar.end()
    return rest + prefix[at:]


def rank_span(prefix: bytes) -> slice:
    """Where the rank stands that a launcher put in front of a line, as it wrote it; empty for none."""
    text = prefix.rstrip()
    if not text.endswith(_RANK_ENDS):
        return slice(0)
    match = _RANK.search(text, max(0, len(text) - RANK_BYTES))
    return slice(0) if match is None or _LETTER.search(text, 0, match.start()) else slice(*match.span())
