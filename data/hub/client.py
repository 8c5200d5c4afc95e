"""The Hugging Face Hub: what a repository states about its files, and their bytes from any offset on.

Endpoint, token, offline mode, proxies and time-outs are huggingface_hub's (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE,
HF_HUB_DOWNLOAD_TIMEOUT). Its own download is not used: it accepts wrong bytes of the right length and starts over
after a kill. Importing this module imports huggingface_hub.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, httpx

from ..errors import DataError

BLOCK_BYTES = 2**20
MAX_WAIT_S = 60.0
METADATA_ATTEMPTS = 4

MAX_FILE_BYTES = 2**50

_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_COUNT = re.compile(r"[0-9]{1,15}")
_TRANSIENT_STATUSES = {408, 416, 425, 429, 500, 502, 503, 504}  # 416: it has fewer bytes just now than it states


class TransientError(Exception):
    """The Hub or the network failed in a way that may pass; `wait_s` is how long the Hub asks to be left alone."""

    def __init__(self, sentence: str, wait_s: float | None = None) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file as the Hub describes it."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A repository at one commit."""

    repository: str
    commit: str
    files: dict[str, RemoteFile]


def is_offline() -> bool:
    """Return whether huggingface_hub has been told to stay off the network."""
    return constants.is_offline_mode()


def endpoint() -> str:
    """Return the address of the Hub in use."""
    return constants.ENDPOINT


def list_files(repository: str, revision: str) -> Listing:
    """Return the files of a dataset repository that carry a SHA-256, at the commit behind `revision`.

    Waits and asks again where the Hub is busy. Raises DataError where that does not help.
    """
    for attempt in range(METADATA_ATTEMPTS):
        try:
            return _list_once(repository, revision)
        except TransientError as error:
            if attempt == METADATA_ATTEMPTS - 1:
                raise DataError(
                    f"expected {endpoint()} to describe {repository}, found {error} in {METADATA_ATTEMPTS} attempts; "
                    "try again later."
                ) from error
            time.sleep(backoff_s(attempt, error))
    raise AssertionError("unreachable")


def backoff_s(attempt: int, error: TransientError) -> float:
    """Return how long to wait after the failed attempt number `attempt` (from 0)."""
    return min(MAX_WAIT_S, 0.5 * 2.0**attempt if error.wait_s is None else error.wait_s)


@contextmanager
def open_from(listing: Listing, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Open `file` at byte `start` and give (the offset it really starts at, blocks as they arrive).

    The offset is `start`, or 0 where a server ignores ranges. Raises TransientError or DataError, also from
    within the `with` block while blocks are read.
    """
    url = hf_hub_url(listing.repository, file.name, repo_type="dataset", revision=listing.commit)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with (
        _translated(listing.repository, listing.commit),
        _session().stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        ) as response,
    ):
        hf_raise_for_status(response)
        _check_identity(response, listing, file)
        offset = _start_of(response) if response.status_code == 206 else 0
        if offset not in (0, start):
            raise TransientError(f"bytes from {offset} where {start} was asked for")
        yield offset, response.iter_raw()


def _list_once(repository: str, revision: str) -> Listing:
    with _translated(repository, revision):
        _session()  # what is wrong with our own settings is no answer of the Hub's
        try:
            info = HfApi().dataset_info(repository, revision=revision, files_metadata=True, timeout=30.0)
            siblings = [(entry.rfilename, entry.lfs) for entry in info.siblings or []]
            files = {name: _remote_file(name, lfs.size, lfs.sha256) for name, lfs in siblings if lfs is not None}
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:  # a proxy's page, say
            raise TransientError("an answer that is not the Hub's") from error
    if info.sha is None:
        raise DataError(f"expected {endpoint()} to name the commit behind {repository}@{revision}, found none.")
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
        raise TransientError("a commit that is none")
    return Listing(repository=repository, commit=info.sha, files=files)


def _remote_file(name: object, size: object, sha256: object) -> RemoteFile:
    """A file as the Hub states it. Raises ValueError for what cannot be a name, a size or a digest."""
    if not isinstance(name, str) or type(size) is not int or not 0 <= size < MAX_FILE_BYTES:
        raise ValueError("no file has such a name or size")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError("no digest")
    return RemoteFile(name=name, bytes=size, sha256=sha256)


def _session() -> "httpx.Client":
    """The client with the caller's proxy, certificates and token. Raises DataError where one of them cannot be used."""
    try:
        session: httpx.Client = get_session()
        httpx.Headers(build_hf_headers())
        httpx.URL(endpoint())
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise DataError(
            f"expected settings for {endpoint()} that can be used, found '{' '.join(str(error).split())[:200]}'; look "
            "at the variables HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error
    return session


@contextmanager
def _translated(repository: str, revision: str) -> Iterator[None]:
    """Errors of the client become TransientError or DataError."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise DataError(
            f"expected to reach {endpoint()} for {repository}, found offline mode; unset HF_HUB_OFFLINE."
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise _explained(error, repository, revision) from error
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeEncodeError) as error:
        raise DataError(
            f"expected an address, a token and a proxy for {endpoint()} that can be sent, found '{error}'; look at "
            "the variables HF_ENDPOINT, HF_TOKEN and HTTPS_PROXY."
        ) from error
    except httpx.HTTPError as error:  # the network's, and redirects without an end
        raise TransientError(f"'{type(error).__name__}: {error}'") from error


def _explained(error: HfHubHTTPError | HFValidationError, repository: str, revision: str) -> Exception:
    if isinstance(error, HFValidationError):
        return DataError(f"expected a repository name, found '{repository}'; mend the dataset's manifest.")
    status, where = error.response.status_code, f"{repository}@{revision} at {endpoint()}"
    if status in _TRANSIENT_STATUSES:
        return TransientError(f"HTTP status {status}", _seconds(error.response.headers.get("Retry-After")))
    if isinstance(error, RevisionNotFoundError):
        return DataError(f"expected {where}, found no such revision; it may have been rewritten, ask its owner.")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        return DataError(f"expected {where}, found no access (HTTP status {status}); check the name, set HF_TOKEN.")
    return DataError(f"expected a file of {where}, found HTTP status {status} at {error.response.url}; try later.")


def _check_identity(response: "httpx.Response", listing: Listing, file: RemoteFile) -> None:
    """The Hub names commit and hash in the first of a chain of redirects."""
    for answer in [*response.history, response]:
        for header, expected in (("X-Repo-Commit", listing.commit), ("X-Linked-Etag", file.sha256)):
            found = answer.headers.get(header, expected).strip('"')
            if found != expected:
                raise DataError(
                    f"{file.name}: expected {header} {expected} as the listing of {listing.repository} says, "
                    f"found {found}; the repository changed meanwhile, start again."
                )


def _start_of(response: "httpx.Response") -> int:
    """`Content-Range: bytes 100-199/200` starts at 100; anything else is no answer to a range."""
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and _COUNT.fullmatch(first) else -1


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and _COUNT.fullmatch(retry_after) else None
