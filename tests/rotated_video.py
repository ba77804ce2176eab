"""Videos that are to be shown turned, as phones write them."""


def matrix_of(content: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """The mp4 with another display matrix in its track header (ISO 14496-12, 8.3.2), version 0."""
    start = content.index(b"tkhd") + 44
    numbers_16_16 = [a, b, 0, c, d, 0, 0, 0, 16384]
    matrix = b"".join((n * 65536).to_bytes(4, "big", signed=True) for n in numbers_16_16)
    assert content[start : start + 36].hex() == "".join(f"{n * 65536:08x}" for n in (1, 0, 0, 0, 1, 0, 0, 0, 16384)), (
        "the matrix was where it should be, and upright"
    )
    return content[:start] + matrix + content[start + 36 :]
