"""Repeats: training documents that also occur in validation, found by exact digests.

The digests of the validation documents are all that is kept, so that memory does not grow with the training text.
"""

from pathlib import Path

from ..files import replace_file
from .encoders import DIGEST_BYTES, chain, digest_text

_FILE_NAME = ".val_documents"
_EMPTY_DOCUMENT = digest_text("")  # says nothing, so its repetition means nothing


class RepeatedDocuments:
    """What validation holds, and how many training documents were found to be in it.

    `open_digest` is the digest so far of a document that goes on in the next batch, `open_in_val` where it began.
    """

    def __init__(self, open_digest: bytes = b"", open_in_val: bool = False, count: int = 0) -> None:
        self.open_digest, self.open_in_val, self.count = open_digest, open_in_val, count
        self._known: set[bytes] = set()

    def find(self, digests: list[bytes], val_texts: int, inside: bool, open_end: bool) -> list[int]:
        """Learn validation documents; count and return the indices of training documents that are among them.

        `digests` are those of a batch's texts, of which the first `val_texts` start in validation. A document that
        several batches share belongs to where it starts and is judged when it ends.
        """
        if not (val_texts or inside or open_end) and self._known.isdisjoint(digests):
            return []
        hits = []
        for index, text_digest in enumerate(digests):
            digest, in_val = text_digest, index < val_texts
            if index == 0 and inside:
                digest, in_val = chain(self.open_digest, digest), self.open_in_val
            if open_end and index == len(digests) - 1:
                self.open_digest, self.open_in_val = digest, in_val
            elif in_val and digest != _EMPTY_DOCUMENT:
                self._known.add(digest)
            elif not in_val and digest in self._known:
                hits.append(index)
        self.count += len(hits)
        return hits

    def save(self, folder: Path) -> None:
        """Keep what validation holds for a process that comes after this one."""
        replace_file(folder / _FILE_NAME, [b"".join(sorted(self._known))])

    def load(self, folder: Path) -> None:
        """Take up what `save` kept. Raises OSError as the operating system does."""
        raw = (folder / _FILE_NAME).read_bytes()
        self._known = {raw[index : index + DIGEST_BYTES] for index in range(0, len(raw), DIGEST_BYTES)}
