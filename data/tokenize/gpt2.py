"""GPT-2's vocabulary: text to tokens and back, by tiktoken.

Every document is preceded by `<|endoftext|>`; the same characters inside a document are ordinary text, as in
tiktoken's encode_ordinary.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import tiktoken

from ..errors import DataError

VOCAB_SIZE = 50257
END_OF_TEXT = 50256
PIECE_CHARACTERS = 2**19  # texts are cut into pieces of about so many

_END_OF_TEXT = "<|endoftext|>"
_LONG_SPACE = 2**12
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # what tiktoken's expression takes for it
_SPACE_RUN = re.compile(rf"(?<![{_SPACE}])[{_SPACE}]{{{_LONG_SPACE},}}+(?=.)", re.DOTALL)
_CUT = re.compile(r"\S(?=[ \n])")

Tokens = npt.NDArray[np.uint16]


def encode_texts(texts: Sequence[str], *, inside: bool = False) -> Tokens:
    """Return the tokens of `texts`, uint16 [N], each text a document unless the first is `inside` one already.

    Many documents in one call cost less than one call each: tiktoken sees the boundaries as special tokens.
    Raises DataError where the vocabulary is not at hand.
    """
    if not texts:
        return np.empty(0, np.uint16)
    joined = ("" if inside else _END_OF_TEXT) + _END_OF_TEXT.join(texts)
    if joined.count(_END_OF_TEXT) == len(texts) - inside and not _has_long_space(joined):
        tokens = load_encoding().encode_to_numpy(joined, allowed_special={_END_OF_TEXT})
        return tokens.astype(np.uint16)
    return np.concatenate([_encode_one(text, inside and index == 0) for index, text in enumerate(texts)])


def split_pieces(text: str) -> Iterator[str]:
    """Yield pieces of `text` whose tokens, one after the other, are the tokens of the whole.

    A piece ends at the first character, from PIECE_CHARACTERS on, that is no whitespace and has a space or a newline
    after it: GPT-2's pre-tokenizer starts a new word there and looks no further back.
    """
    start = 0
    while (end := piece_end(text, start, len(text))) is not None:
        yield text[start:end]
        start = end
    yield text[start:]


def piece_end(text: str, start: int, end: int) -> int | None:
    """Return where the piece of `text[start:end]` that begins at `start` ends, None where it takes all of it."""
    if end - start <= PIECE_CHARACTERS:
        return None
    found = _CUT.search(text, start + PIECE_CHARACTERS - 1, end)
    return found.end() if found else None


def decode(tokens: Tokens) -> str:
    """Return tokens as text; bytes that are no UTF-8, as a cut may leave, become U+FFFD."""
    return load_encoding().decode(tokens.tolist())


def count_bytes(tokens: Tokens) -> int:
    """Return how many UTF-8 bytes of text stand behind `tokens`; `<|endoftext|>` stands for none."""
    return int(_token_bytes()[tokens].sum(dtype=np.int64))


@cache
def load_encoding() -> tiktoken.Encoding:
    """Return tiktoken's GPT-2 encoding; DataError where its vocabulary is neither cached nor within reach."""
    try:
        return tiktoken.get_encoding("gpt2")
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; ValueError: a file with another hash
        found = " ".join(str(error).split())[:200]
        raise DataError(
            f"expected GPT-2's vocabulary, found that tiktoken cannot load it ({found}); connect to the network once, "
            "or set TIKTOKEN_CACHE_DIR to a folder that has it."
        ) from error


def _encode_one(text: str, inside: bool) -> Tokens:
    encode = load_encoding().encode_ordinary
    tokens = np.array([token for part in _around_long_space(text) for token in encode(part)], np.uint16)
    return tokens if inside else np.concatenate([np.array([END_OF_TEXT], np.uint16), tokens])


def _has_long_space(text: str) -> bool:
    """Whether a run of whitespace may be too long for tiktoken's expression, which goes back over all of it."""
    return any(
        text[start].isspace() and text[start : start + _LONG_SPACE].isspace()
        for start in range(0, len(text), _LONG_SPACE)
    )


def _around_long_space(text: str) -> Iterator[str]:
    """Yield `text` in parts that have its tokens, no long run of whitespace with anything behind it.

    Of a run before a word GPT-2's pre-tokenizer takes all but the last character at once, as it does at an end.
    """
    start = 0
    for run in _SPACE_RUN.finditer(text) if _has_long_space(text) else ():
        yield from (part for part in (text[start : run.start()], text[run.start() : run.end() - 1]) if part)
        start = run.end() - 1
    yield text[start:]


@cache
def _token_bytes() -> npt.NDArray[np.uint8]:
    encoding = load_encoding()
    lengths = [len(encoding.decode_single_token_bytes(token)) for token in range(END_OF_TEXT)]
    return np.array([*lengths, 0], np.uint8)
