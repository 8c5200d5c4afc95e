"""One rank's socket, seen from the referee: never waits, never trusts a length."""

import socket
from collections.abc import Iterator

from ..errors import RunFailure
from ..formats.messages import RankMessage, parse
from ..sandbox.inside import HEADER, MAX_MESSAGE_BYTES, Message, encode
from ..status import Status

READ_BYTES = 2**16  # at most so much per look, so that one rank's chatter cannot keep the referee from the others


class Connection:
    """Messages in, answers out. rank is None until the rank has said hello."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.rank: int | None = None
        self.is_open = True
        self._inbox = bytearray()

    def fileno(self) -> int:
        return self.sock.fileno()

    def receive(self) -> Iterator[RankMessage]:
        """The messages that have arrived whole. Sets is_open to False at the end of the stream.

        Raises RunFailure on what no rank of ours would send.
        """
        try:
            chunk = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            chunk = b""
        self.is_open = bool(chunk)
        self._inbox += chunk
        while (message := self._next()) is not None:
            yield message

    def send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Answer; a rank that is gone reads nothing, and its end is noticed where its socket is read.

        Raises RunFailure where the rank has left so many answers unread that this one would have to wait.
        """
        frame = encode(message)
        try:
            sent = socket.send_fds(self.sock, [frame], fds) if fds else 0
            self.sock.sendall(frame[sent:])
        except BlockingIOError as error:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"{self._name()} does not read what it is answered") from error
        except OSError:
            return

    def close(self) -> None:
        self.sock.close()

    def _next(self) -> RankMessage | None:
        if len(self._inbox) < HEADER.size:
            return None
        size, payload = HEADER.unpack(self._inbox[: HEADER.size])
        if size > MAX_MESSAGE_BYTES or payload:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"{self._name()} sent a message of {size:,} + {payload:,} bytes")
        end = HEADER.size + size
        if len(self._inbox) < end:
            return None
        body = bytes(self._inbox[HEADER.size : end])
        del self._inbox[:end]
        try:
            return parse(body)
        except ValueError as error:
            raise RunFailure(Status.PROTOCOL_BROKEN, f"{self._name()} sent what no rank sends: {error}") from error

    def _name(self) -> str:
        return "a process that is no rank yet" if self.rank is None else f"rank {self.rank}"
