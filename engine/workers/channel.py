"""A worker's end of the socket to its parent: frames in, frames out."""

import select
import socket
from collections.abc import Iterable

from engine.workers.protocol import (
    Decoder,
    FromWorker,
    ProtocolError,
    ToWorker,
    encode,
    parse_to_worker,
)

_CHUNK = 256 * 1024


class ChannelClosed(Exception):
    """The parent has closed its side or is gone: the worker's order to end."""


class Channel:
    """Frames over a connected stream socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(True)
        self._poll = select.poll()  # select() knows no descriptor above 1023
        self._poll.register(connection, select.POLLIN)
        self._decoder = Decoder()

    def receive(self, patience_s: float | None) -> list[ToWorker]:
        """The frames that have arrived, waiting up to ``patience_s`` seconds for the first.

        Args:
            patience_s: None while requests are being computed: they are not to be held up.

        Raises:
            ChannelClosed: the parent is gone.
            ProtocolError: it sent something that is no frame.
        """
        frames: list[ToWorker] = []
        patience_s = patience_s or 0.0
        while self._poll.poll(0 if frames else patience_s * 1000):
            try:
                data = self._socket.recv(_CHUNK)
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if not data:
                raise ChannelClosed("end of file")
            frames.extend(parse_to_worker(body) for body in self._decoder.feed(data))
            if not frames:
                patience_s = 0  # the rest of a long frame: do not hold up the requests in flight
        return frames

    def send(self, frames: Iterable[FromWorker]) -> None:
        """Send frames in one write, waiting while the parent does not read.

        Raises:
            ChannelClosed: the parent is gone.
        """
        data = bytearray()
        for frame in frames:
            data += _encoded(frame)
        self.send_bytes(bytes(data))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are: also how a simulated worker tears a frame.

        Raises:
            ChannelClosed: the parent is gone.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ChannelClosed(str(error)) from error


def _encoded(frame: FromWorker) -> bytes:
    try:
        return encode(frame)
    except ProtocolError:
        # Only a rendered prompt can be so long: the answer stands without it.
        return encode(frame.model_copy(update={"text": ""}))
