"""Owns the packet boundaries of a MySQL client's byte stream, so that statements can be changed on their way.

Everything that is not a short statement with a needle in it leaves as the very same bytes, whatever pieces it came in.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
"""

from collections.abc import Callable, Sequence

_HEADER = 4
_COM_QUERY = 0x03
_COM_STMT_PREPARE = 0x16
_STATEMENTS = (_COM_QUERY, _COM_STMT_PREPARE)
# The questions are short; a longer statement is data, and is not held back to be read.
STATEMENT_LIMIT = 64 * 1024

_CLIENT_COMPRESS, _CLIENT_SSL_HIGH_BYTE, _CLIENT_ZSTD_TOP_BYTE = 0x20, 0x08, 0x04


class ClientStream:
    """What a client sends, cut into packets. `feed` takes bytes as they come and returns the bytes to pass on."""

    __slots__ = ("_held", "_last_sequence", "_needles", "_pass", "_rewrite")

    def __init__(self, rewrite: Callable[[bytes], bytes], needles: Sequence[bytes]) -> None:
        self._rewrite = rewrite
        self._needles = needles
        self._held = b""  # the beginning of a packet that must be whole to be judged
        self._pass = 0  # bytes of the current packet that still pass unread
        self._last_sequence = 0

    def feed(self, data: bytes) -> bytes:
        if not self._pass and not self._held and len(data) > _HEADER:
            # Nearly always: one whole packet, a command.
            length = data[0] | data[1] << 8 | data[2] << 16
            if length + _HEADER == len(data):
                sequence, last, self._last_sequence = data[3], self._last_sequence, data[3]
                if sequence or last == 255 or data[4] not in _STATEMENTS or length > STATEMENT_LIMIT:
                    return data
                return self._statement(data)
        elif self._pass >= len(data):
            self._pass -= len(data)
            return data
        return self._feed_slowly(data)

    def _feed_slowly(self, data: bytes) -> bytes:
        out = []
        data = self._held + data
        self._held = b""
        position = 0
        while position < len(data):
            if self._pass:
                piece = data[position : position + self._pass]
                self._pass -= len(piece)
                position += len(piece)
                out.append(piece)
                continue
            if len(data) - position < _HEADER:
                self._held = data[position:]
                break
            length = int.from_bytes(data[position : position + 3], "little")
            end = position + _HEADER + length
            sequence = data[position + 3]
            # A command begins at sequence 0. So does, once in 256, a packet of LOAD DATA LOCAL's file or of a huge
            # statement, which count on from 255: those are never read.
            if sequence == 0 and self._last_sequence != 255 and 0 < length <= STATEMENT_LIMIT:
                if len(data) < position + _HEADER + 1:
                    self._held = data[position:]
                    break
                if data[position + _HEADER] in _STATEMENTS:
                    if len(data) < end:
                        self._held = data[position:]
                        break
                    self._last_sequence = sequence
                    out.append(self._statement(data[position:end]))
                    position = end
                    continue
            self._last_sequence = sequence
            self._pass = _HEADER + length
        return b"".join(out)

    def _statement(self, packet: bytes) -> bytes:
        lowered = packet.lower()
        for needle in self._needles:
            if needle in lowered:
                break
        else:
            return packet
        payload = packet[4:5] + self._rewrite(packet[5:])
        return len(payload).to_bytes(3, "little") + packet[3:4] + payload


def without_compression_and_tls(greeting: bytes) -> bytes:
    """Return the server's first packet with the capabilities taken out that would make the stream unreadable."""
    end_of_version = greeting.find(b"\0", _HEADER + 1)
    capabilities = end_of_version + 1 + 4 + 8 + 1
    if greeting[_HEADER : _HEADER + 1] != b"\x0a" or end_of_version < 0 or len(greeting) < capabilities + 7:
        return greeting  # an error packet ("too many connections"), or no MySQL at all
    changed = bytearray(greeting)
    changed[capabilities] &= ~_CLIENT_COMPRESS & 0xFF
    changed[capabilities + 1] &= ~_CLIENT_SSL_HIGH_BYTE & 0xFF
    changed[capabilities + 6] &= ~_CLIENT_ZSTD_TOP_BYTE & 0xFF
    return bytes(changed)


def insists_on_compression(introduction: bytes) -> bool:
    """Whether the client's first packet asks for compression, though the greeting offered none."""
    return len(introduction) > _HEADER and bool(introduction[_HEADER] & _CLIENT_COMPRESS)


def error_packet(sequence: int, code: int, state: str, message: str) -> bytes:
    payload = b"\xff" + code.to_bytes(2, "little") + b"#" + state.encode() + message.encode()
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload
