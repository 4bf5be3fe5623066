"""The facade's reading of a client's stream: only whole statements that ask change; every other byte is as it was."""

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from django_aurora_routing.lab.framing import STATEMENT_LIMIT, ClientStream, without_compression_and_tls

COM_QUERY, COM_PREPARE, COM_PING, COM_EXECUTE = b"\x03", b"\x16", b"\x0e", b"\x17"


def packet(payload: bytes, sequence: int = 0) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def shout(statement: bytes) -> bytes:
    """A rewriting that changes the length."""
    return statement.replace(b"aurora", b"AURORA!!")


def feed(pieces: Iterable[bytes]) -> bytes:
    stream = ClientStream(shout, [b"innodb", b"aurora"])
    return b"".join(stream.feed(piece) for piece in pieces)


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(edge % (len(data) + 1) for edge in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


plain = st.binary(max_size=60).filter(lambda data: b"aurora" not in data.lower() and b"innodb" not in data.lower())
commands = st.sampled_from([COM_QUERY, COM_PREPARE, COM_PING, COM_EXECUTE])
# What passes: commands without a needle, and packets that are no commands, needle or not.
passing = st.one_of(
    st.builds(lambda command, rest: packet(command + rest), commands, plain),
    st.builds(lambda rest, sequence: packet(b"\x03aurora" + rest, sequence), plain, st.integers(1, 254)),
    st.just(packet(b"")),
    st.just(packet(COM_EXECUTE + b"aurora")),
    st.just(packet(COM_QUERY + b"aurora" + b" " * STATEMENT_LIMIT)),
)
asking = st.builds(
    lambda command, rest: packet(command + b"aurora" + rest), st.sampled_from([COM_QUERY, COM_PREPARE]), plain
)
edges = st.lists(st.integers(0, 200_000), max_size=12)


@given(packets=st.lists(passing, max_size=12), at=edges)
def test_what_asks_nothing_passes_unchanged_however_it_is_cut(packets: list[bytes], at: list[int]) -> None:
    data = b"".join(packets)

    assert feed(cut(data, at)) == data


@given(packets=st.lists(st.one_of(passing, asking), max_size=12), at=edges)
def test_every_question_is_found_however_it_is_cut(packets: list[bytes], at: list[int]) -> None:
    def answer(data: bytes) -> bytes:
        asks = data[3] == 0 and data[4:5] in (COM_QUERY, COM_PREPARE) and len(data) - 4 <= STATEMENT_LIMIT
        return packet(data[4:5] + shout(data[5:])) if asks and b"aurora" in data else data

    assert feed(cut(b"".join(packets), at)) == b"".join(map(answer, packets))


def test_byte_by_byte() -> None:
    data = packet(COM_QUERY + b"SELECT aurora") + packet(COM_PING) + packet(COM_QUERY + b"SELECT 1")
    expected = packet(COM_QUERY + b"SELECT AURORA!!") + packet(COM_PING) + packet(COM_QUERY + b"SELECT 1")

    assert feed(data[i : i + 1] for i in range(len(data))) == expected


def test_a_file_that_is_loaded_is_data_when_its_packets_count_past_255() -> None:
    """LOAD DATA LOCAL: the client's packets go on from the server's number, around to 0, and may hold anything."""
    query = packet(COM_QUERY + b"LOAD DATA LOCAL INFILE")
    file = b"".join(packet(COM_QUERY + b"aurora", number % 256) for number in range(2, 260))

    assert feed([query + file]) == query + file


def test_a_statement_of_several_packets_is_not_read() -> None:
    first = packet(COM_QUERY + b"aurora" + b"x" * (0xFFFFFF - 7))
    second = packet(b"aurora", 1)
    data = first + second

    assert feed(cut(data, range(0, len(data), 100_000))) == data


def test_a_question_after_a_long_statement_is_found() -> None:
    long = packet(COM_QUERY + b"x" * 200_000)

    assert feed([long[:70_000], long[70_000:] + packet(COM_QUERY + b"aurora")]) == long + packet(
        COM_QUERY + b"AURORA!!"
    )


def greeting(lower: bytes, upper: bytes) -> bytes:
    return packet(b"\x0a10.11.19-MariaDB\0" + b"\x01\0\0\0" + b"saltsalt" + b"\0" + lower + b"\x2d" + b"\x02\0" + upper)


def test_the_greeting_loses_compression_and_tls_alone() -> None:
    assert without_compression_and_tls(greeting(b"\xff\xff", b"\xff\xff")) == greeting(b"\xdf\xf7", b"\xff\xfb")


def test_an_error_instead_of_a_greeting_passes() -> None:
    error = packet(b"\xff\x10\x04Too many connections")

    assert without_compression_and_tls(error) == error
