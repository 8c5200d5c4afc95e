"""The text of a log: bytes in pieces of any size become blocks of whole lines, and the embedded source comes apart.

A line ends where a terminal begins a new one: at a line feed, or at a carriage return, as progress bars have it. Source
is what is source: text before a line of `=` that parses as Python, or that holds no result and has an import.
"""

import ast
import codecs
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from data.files import LFS_POINTER

from .lines import LinePattern, read_line

MAX_LINE_BYTES = 65_536
MAX_SOURCE_BYTES = 2 * 2**20
MAX_PARSED_BYTES = 2**19  # the longest source that a log is known to hold is a third of it
PEEKED_BYTES = 64  # enough to see how a text is encoded
SEPARATOR = re.compile(rb"={20,}+[ \t\r]*+(?![^\n])")  # a whole line; possessive, so that no line makes it backtrack
RULE = b"\n" + b"=" * 20
_IMPORT = re.compile(rb"^(?:import|from) \w", re.MULTILINE)
_LIKE_RESULTS = re.compile(rb"^(?:[Ss]tep[ :]|iter|s:|val loss |[0-9]{1,12}/)", re.MULTILINE)
_DASHES = re.compile(rb"^-{20,}[ \t\r]*$", re.MULTILINE)  # between the files of a source
_MARKS = (
    (codecs.BOM_UTF8, "", "byte-order-mark", "the text begins with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32", "the text is UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32", "the text is UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16", "the text is UTF-16, as PowerShell writes it"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16", "the text is UTF-16, as PowerShell writes it"),
)


@dataclass(slots=True)
class _Decoder:
    """UTF-16 or UTF-32 in pieces becomes UTF-8; what is none becomes the mark of that, in whole pieces at once.

    encoding: with its byte order. As the codec with errors="replace" has it, which calls Python for every error.
    """

    encoding: str
    _rest: bytes = b""

    def decode(self, chunk: bytes, *, final: bool) -> bytes:
        text = self._rest + chunk
        size = 2 if "16" in self.encoding else 4
        whole = len(text) - len(text) % size
        if size == 2 and whole and text[whole - 2 if "be" in self.encoding else whole - 1] & 0xFC == 0xD8:
            whole -= 2  # the first half of a pair
        text, rest = text[:whole], text[whole:]
        last = rest.decode(self.encoding, "replace").encode() if final else b""
        self._rest = b"" if final else rest
        try:
            return text.decode(self.encoding).encode() + last
        except UnicodeDecodeError:
            return _repaired(text, size, self.encoding).decode(self.encoding).encode() + last


def _repaired(text: bytes, size: int, encoding: str) -> bytes:
    """Whole units of UTF-16 or UTF-32; what stands for no character is replaced."""
    import numpy as np  # here: hardly a log needs it

    units = np.frombuffer(text, np.dtype(f"{'>' if 'be' in encoding else '<'}u{size}")).copy()
    if size == 4:
        units[(units > 0x10FFFF) | (units & ~np.uint32(0x7FF) == 0xD800)] = 0xFFFD
    else:
        first, second = units & 0xFC00 == 0xD800, units & 0xFC00 == 0xDC00
        lone = first | second
        lone[:-1] &= ~(first[:-1] & second[1:])
        lone[1:] &= ~(first[:-1] & second[1:])
        units[lone] = 0xFFFD
    return units.tobytes()


@dataclass(slots=True)
class LogText:
    """Blocks of whole lines from pieces, in UTF-8, without the lines that are too long. odd: what to tell, by id."""

    odd: dict[str, str]
    size: int = 0
    _rest: bytes = b""
    _skipping: bool = False
    _peeked: bytes | None = b""
    _decoder: "_Decoder | None" = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self.size += len(chunk)
        if self._peeked is not None:
            self._peeked += chunk
            if len(self._peeked) < PEEKED_BYTES:
                return
            chunk = self._open()
        yield from self._lines(self._decoded(chunk))

    def end(self) -> tuple[list[bytes], bytes]:
        """The blocks that are left, and the last line where nothing ends it."""
        first = b"" if self._peeked is None else self._open()
        blocks = list(self._lines(self._decoded(first, final=True)))
        rest, self._rest = self._rest, b""
        if rest.endswith(b"\r"):
            return [*blocks, self._looked_at(rest[:-1] + b"\n")], b""
        return blocks, self._looked_at(rest)

    def _open(self) -> bytes:
        """The first bytes; says how they are encoded, and forgets that they were kept."""
        assert self._peeked is not None
        first, self._peeked = self._peeked, None
        if first.removeprefix(codecs.BOM_UTF8).startswith(LFS_POINTER):
            self.odd["lfs-pointer"] = "this is a pointer of Git LFS instead of the log: run `git lfs pull`"
        even, uneven = first[0::2], first[1::2]
        for mark, encoding, key, sentence in _MARKS:
            if first.startswith(mark):
                self.odd[key] = sentence
                if encoding:  # UTF-8 stays the bytes that it is
                    self._decoder = _Decoder(encoding)
                return first[len(mark) :]
        for zeros, text, encoding in ((uneven, even, "utf-16-le"), (even, uneven, "utf-16-be")):
            if len(zeros) > 4 and not any(zeros) and all(text):
                self.odd["utf-16"] = "the text is UTF-16 without a byte order mark"
                self._decoder = _Decoder(encoding)
        return first

    def _decoded(self, chunk: bytes, *, final: bool = False) -> bytes:
        return chunk if self._decoder is None else self._decoder.decode(chunk, final=final)

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if self._skipping:
            ends = [at for at in (chunk.find(b"\n"), chunk.find(b"\r")) if at != -1]
            self._skipping = not ends
            chunk = chunk[min(ends) :] if ends else b""
        text = self._rest + chunk
        cut = max(text.rfind(b"\n"), text.rfind(b"\r", 0, len(text) - 1)) + 1  # \r\n must not come apart
        block, self._rest = text[:cut], text[cut:]
        if len(self._rest) > MAX_LINE_BYTES:
            self.odd["long-line"] = f"a line longer than {MAX_LINE_BYTES:,} bytes was left out"
            self._rest, self._skipping = b"", True
        if block:
            yield self._looked_at(block)

    def _looked_at(self, block: bytes) -> bytes:
        """Name what is no plain text."""
        if b"\0" in block:
            self.odd["nul-bytes"] = "there are NUL bytes in the text"
        if b"\x1b" in block:
            self.odd["terminal-escapes"] = "there are terminal escape sequences in the text"
        if "invalid-utf8" not in self.odd:
            try:
                block.decode()
            except UnicodeDecodeError:
                self.odd["invalid-utf8"] = "the text is not valid UTF-8"
        return block


@dataclass(slots=True)
class SourceSplitter:
    """Takes the embedded source from the front of a log: what stands before the first line of `=` (between the first
    two, where the log begins with one) if that is source."""

    forms: tuple[LinePattern, ...]
    source: bytes = b""
    _head: bytearray = field(default_factory=bytearray)
    _rules: list[tuple[int, int]] = field(default_factory=list)
    _done: bool = False

    def feed(self, block: bytes) -> bytes:
        """A block of whole lines. Returns what belongs to the log itself, empty as long as that is open."""
        if self._done:
            return block
        start = len(self._head)
        self._head += block
        for at, end in _separators(block):
            self._rules.append((start + at, start + end))
            if len(self._rules) == 2 or bytes(self._head[: start + at]).strip():
                return self._split()
        return self.end() if len(self._head) > MAX_SOURCE_BYTES else b""

    def end(self) -> bytes:
        """The log is over, or too long for a source: whatever was held back is log."""
        head, self._head, self._done = bytes(self._head), bytearray(), True
        return head

    def _split(self) -> bytes:
        start = self._rules[0][1] if len(self._rules) == 2 else 0
        at, end = self._rules[-1]
        text = self.end()
        if not is_source(text[start:at], self.forms):
            return text
        self.source = text[start:at].strip(b"\n")
        return text[end:]


def is_source(text: bytes, forms: tuple[LinePattern, ...]) -> bool:
    """Whether text is a script rather than what one printed."""
    if not text.strip():
        return True
    lines = (text[at.start() : text.find(b"\n", at.end())] for at in _LIKE_RESULTS.finditer(text))
    has_results = any(found.reading for line in lines if (found := read_line(line, forms)))
    return (not has_results and _IMPORT.search(text) is not None) or _parses(text)


def _parses(text: bytes) -> bool:
    if len(text) > MAX_PARSED_BYTES:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(_DASHES.sub(b"", text.replace(b"\r\n", b"\n")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _separators(text: bytes) -> Iterator[tuple[int, int]]:
    """Every line of twenty or more `=`: where it begins and ends."""
    if match := SEPARATOR.match(text):
        yield match.span()
    at = text.find(RULE)
    while at != -1:
        if match := SEPARATOR.match(text, at + 1):
            yield match.span()
        at = text.find(RULE, at + 1)
