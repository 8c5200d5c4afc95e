"""The text of one run on the embedded corpus: in a language of its own, made before PREPARE while nothing is timed.

Whatever is known of a run's text follows from its language's secret: the language itself, and the seeds of training
shards and validation. So whoever has the secret, which `run.json` reveals when the run is over, makes the same bytes:
that is how `speedrun verify` checks them. Runs of one sample are alike in recipe and sizes, not in digests.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data import datasets
from data.corpus import narration
from data.corpus.language import RECIPE, Language, language
from data.datasets import Dataset
from data.shards import make_header, write_shard

from ..formats.observer import Observer
from ..formats.run import TextFacts
from ..formats.track import Track

WARMUP_TEXT_TOKENS = 2**19  # of another language, again and again where a warm-up shard is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One shard: the file it becomes, what its seed is called, its length in tokens."""

    file: str
    text: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenText:
    """What was made for a run."""

    train: list[Path]
    val: Path
    digests: dict[str, str]  # file name -> SHA-256, as in run.json
    facts: TextFacts


def validation_piece(dataset: Dataset, track: Track) -> Piece:
    """As much as is scored, and the token that its first target follows."""
    return Piece(file=dataset.val_file, text="validation", tokens=track.data.val_tokens + 1)


def training_pieces(dataset: Dataset, track: Track) -> list[Piece]:
    """The training shards a track reads, of the dataset's own sizes."""
    files = dataset.train_files()[: track.data.train_shards]
    sizes = datasets.train_sizes(dataset)[: len(files)]
    return [
        Piece(file=file, text=f"train {number}", tokens=size)
        for number, (file, size) in enumerate(zip(files, sizes, strict=True), start=1)
    ]


def planned_facts(dataset: Dataset, track: Track) -> TextFacts:
    """What is known of a text before its language is drawn."""
    sizes = [piece.tokens for piece in training_pieces(dataset, track)]
    return TextFacts(recipe=RECIPE, train_tokens=sum(sizes), val_tokens=validation_piece(dataset, track).tokens)


def tell(
    pieces: Sequence[Piece], spoken: Language, progress: Callable[[int, int], None] | None = None
) -> list[tuple[npt.NDArray[np.uint16], float]]:
    """The tokens of shards, uint16 [piece.tokens], and their entropy in nats per token; told together."""
    watch = {} if progress is None else {"progress": progress}
    wanted = [(spoken.seed(piece.text), piece.tokens) for piece in pieces]
    texts = narration.narrate_all(wanted, spoken, **watch)
    return [(text.tokens, float(text.nats.mean(dtype=np.float64))) for text in texts]


def sha256(tokens: npt.NDArray[np.uint16]) -> str:
    """Of the shard that holds these tokens."""
    content = hashlib.sha256(make_header(tokens.size))
    content.update(tokens.astype("<u2").tobytes())
    return content.hexdigest()


def write(secret: bytes, dataset: Dataset, track: Track, folder: Path, observer: Observer) -> SpokenText:
    """Make training shards and validation of a language below `folder`."""
    spoken = language(secret)
    pieces = [*training_pieces(dataset, track), validation_piece(dataset, track)]
    observer.phase("TEXT", 0.0)

    def advance(done: int, total: int) -> None:
        observer.written(done, total)
        observer.tick()

    texts, digests = tell(pieces, spoken, advance), {}
    for piece, (tokens, _) in zip(pieces, texts, strict=True):
        write_shard(folder / piece.file, tokens)
        digests[piece.file] = sha256(tokens)
    _, entropy = texts[-1]
    facts = planned_facts(dataset, track).model_copy(update={"entropy": round(entropy, 7)})
    paths = [folder / piece.file for piece in pieces]
    return SpokenText(train=paths[:-1], val=paths[-1], digests=digests, facts=facts)


def made_anew(
    secret: str, dataset: Dataset, track: Track, *, training: bool = False
) -> tuple[dict[str, str], TextFacts]:
    """The digests of what was made for a run from the secret it revealed, by file name: of the validation text, and of
    the training shards where asked for. So is the rest of what a run says of its text.
    """
    pieces = [validation_piece(dataset, track), *(training_pieces(dataset, track) if training else ())]
    (_, entropy), *_ = made = _made_anew(secret, *((piece.text, piece.tokens) for piece in pieces))
    digests = {piece.file: digest for piece, (digest, _) in zip(pieces, made, strict=True)}
    return digests, planned_facts(dataset, track).model_copy(update={"entropy": round(entropy, 7)})


@lru_cache(maxsize=4096)
def _made_anew(secret: str, *wanted: tuple[str, int]) -> tuple[tuple[str, float], ...]:
    """Digest and entropy of the texts of a secret, by what their seeds are called and their length in tokens.

    Remembered, since the arms of a pair share their text and one command may look at a campaign more than once.
    """
    pieces = [Piece(file="", text=text, tokens=tokens) for text, tokens in wanted]
    return tuple((sha256(tokens), entropy) for tokens, entropy in tell(pieces, language(bytes.fromhex(secret))))


def warmup_texts(secret: bytes, shards: int, tokens: int) -> list[npt.NDArray[np.uint16]]:
    """Text of a language that nobody is trained on, uint16 [tokens] each: for so many warm-up shards."""
    spoken = language(secret)
    wanted = [(spoken.seed(f"warm-up {number}"), min(tokens, WARMUP_TEXT_TOKENS)) for number in range(1, shards + 1)]
    return [np.resize(text.tokens, tokens) for text in narration.narrate_all(wanted, spoken)]
