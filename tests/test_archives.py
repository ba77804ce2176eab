"""Members of archives: what is listed, what is read, and what is refused with which reason."""

import errno
import io
import ntpath
import posixpath
import struct
import warnings
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_ray.data.archives import Member, ZipLimits, list_members, name_fault, read_member
from emotion_ray.errors import Reject

TAKE = "Actor_01/01-01-05-01-02-02-01.mp4"
OTHER = "Actor_01/01-01-05-01-02-02-02.mp4"
VIDEO = b"the bytes of a take" * 400


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], packed: bool = False) -> Path:
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate names that we are after
        for name, data in members:
            archive.writestr(name, data, method)
    return path


def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def patched(path: Path, offset: int, layout: str, value: int) -> Path:
    """Overwrites a field of the first entry in the table of contents."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.index(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)
    return path


def reasons(path: Path, **options) -> dict[str, str]:
    _, rejects = list_members(path, **options)
    assert all(reject.stage == "archive" and "\n" not in reject.message for _, reject in rejects)
    return {name: reject.reason for name, reject in rejects}


@pytest.mark.parametrize("packed", [False, True])
def test_members_are_listed_and_read(tmp_path, packed):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO), (OTHER, VIDEO[::-1]), packed=packed)
    members, rejects = list_members(path)
    assert members == [
        Member(TAKE, zlib.crc32(VIDEO), len(VIDEO)),
        Member(OTHER, zlib.crc32(VIDEO[::-1]), len(VIDEO)),
    ]
    assert rejects == []
    assert [read_member(path, member) for member in members] == [VIDEO, VIDEO[::-1]]
    assert list(tmp_path.iterdir()) == [path], "nothing is unpacked"


def test_a_take_larger_than_one_piece(tmp_path):
    video = bytes(range(256)) * 20_000  # 5.1 MB, packing to less than 1 in 100
    path = zipped(tmp_path / "a.zip", (TAKE, video))
    (member,), _ = list_members(path)
    assert read_member(path, member) == video


def test_folders_and_metadata_are_passed_over(tmp_path):
    passed_over = [
        "Actor_01/",
        "__MACOSX/Actor_01/._x.mp4",
        "Actor_01/.DS_Store",
        "README.txt",
        "a/Thumbs.db",
    ]
    path = zipped(tmp_path / "a.zip", *((name, b"") for name in passed_over), (TAKE, VIDEO))
    members, rejects = list_members(path)
    assert ([member.name for member in members], rejects) == ([TAKE], [])


@pytest.mark.parametrize(
    "name",
    [
        "../x.mp4",
        "a/../../x.mp4",
        "/etc/x.mp4",
        "C:/x.mp4",
        "C:x.mp4",
        "a\\x.mp4",
        "\\\\host\\x.mp4",
        "a//x.mp4",
        "./x.mp4",
        "a/.. /x.mp4",
        "a\nb.mp4",
        "../folder/",
        "../README.txt",
    ],
)
def test_unsafe_names(tmp_path, name):
    path = zipped(tmp_path / "a.zip", (name, VIDEO), (TAKE, VIDEO))
    assert reasons(path) == {name: "unsafe_name"}
    assert [member.name for member in list_members(path)[0]] == [TAKE], "its neighbour is there"


def test_a_name_with_nul_is_not_read_as_the_part_before_it(tmp_path):
    path = zipped(tmp_path / "a.zip", ("xx.mp4_.txt", VIDEO))
    path.write_bytes(path.read_bytes().replace(b"xx.mp4_.txt", b"xx.mp4\0.txt"))
    assert reasons(path) == {"xx.mp4\0.txt": "unsafe_name"}


@given(st.text("ab.: /\\\0\n~é-C", max_size=12) | st.text(max_size=20))
def test_a_name_without_fault_stays_in_its_folder(name):
    if name_fault(name) is None:
        assert posixpath.normpath(posixpath.join("/root", name)).startswith("/root/")
        assert ntpath.normpath(ntpath.join("Z:\\root", name)).startswith("Z:\\root\\")
        assert not PureWindowsPath(name).drive
        assert not any(ord(character) < 32 for character in name)


@given(st.lists(st.text("abcXYZ019-_", min_size=1, max_size=8), min_size=1, max_size=4))
def test_a_plain_name_has_no_fault(parts):
    assert name_fault("/".join(parts)) is None
    assert name_fault("/".join(parts) + ".mp4") is None
    assert name_fault("/".join(["..", *parts])) is not None
    assert name_fault("/" + "/".join(parts)) is not None


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ((with_mode(TAKE, 0o120777), b"../../etc/passwd"), "link"),
        ((with_mode("README.txt", 0o120777), b"../../etc/passwd"), "link"),
        ((with_mode(TAKE, 0o020644), b"device"), "not_a_file"),
        ((with_mode(TAKE, 0o040755), b""), "not_a_file"),
        (("folder/", b"with content"), "not_a_file"),
        (("Actor_01/sound.wav", VIDEO), "not_a_video"),
        (("Actor_01/no_suffix", VIDEO), "not_a_video"),
        ((TAKE, b""), "empty"),
    ],
)
def test_what_is_no_take(tmp_path, member, reason):
    path = zipped(tmp_path / "a.zip", member, (OTHER, VIDEO))
    name = member[0] if isinstance(member[0], str) else member[0].filename
    assert reasons(path) == {name: reason}
    assert [member.name for member in list_members(path)[0]] == [OTHER]


def test_duplicates_are_refused_altogether(tmp_path):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO), (OTHER, VIDEO), (TAKE, b"other bytes"))
    assert reasons(path) == {TAKE: "duplicate_name"}
    assert [member.name for member in list_members(path)[0]] == [OTHER]


@pytest.mark.parametrize(
    ("offset", "layout", "value", "reason"),
    [
        (8, "<H", 0x1, "encrypted"),
        (8, "<H", 0x41, "encrypted"),
        (10, "<H", 14, "unsupported_compression"),  # LZMA, whose dictionary may ask for 4 GB
        (24, "<L", 200_000_001, "too_large"),
        (24, "<L", 199_000_000, "bomb"),
    ],
)
def test_what_the_table_of_contents_gives_away(tmp_path, offset, layout, value, reason):
    path = patched(zipped(tmp_path / "a.zip", (TAKE, VIDEO), (OTHER, VIDEO)), offset, layout, value)
    assert reasons(path) == {TAKE: reason}
    assert [member.name for member in list_members(path)[0]] == [OTHER]


def test_a_bomb_that_tells(tmp_path):
    path = zipped(tmp_path / "a.zip", (TAKE, bytes(3_000_000)), packed=True)
    assert reasons(path) == {TAKE: "bomb"}
    assert reasons(path, limits=ZipLimits(ratio=2000)) == {}
    with pytest.raises(Reject) as caught:
        read_member(path, Member(TAKE, zlib.crc32(bytes(3_000_000)), 3_000_000))
    assert caught.value.reason == "bomb"


def test_a_bomb_that_lies_is_not_read_beyond_what_it_declares(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", (TAKE, bytes(30_000_000)), packed=True)
    patched(path, 24, "<L", 1000)
    (member,), _ = list_members(path)
    assert member.size == 1000
    longest = 0
    inflate = zlib.decompressobj

    class Watched:
        def __init__(self, *arguments):
            self._inner = inflate(*arguments)

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def decompress(self, data, most):
            nonlocal longest
            longest = max(longest, most)
            return self._inner.decompress(data, most)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(Reject) as caught:
        read_member(path, member)
    assert caught.value.reason == "wrong_crc"
    assert 0 < longest <= 1 << 20


def test_wrong_crc(tmp_path):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO), (OTHER, VIDEO))
    spoiled = bytearray(path.read_bytes())
    spoiled[spoiled.index(VIDEO) + 100] ^= 1
    path.write_bytes(spoiled)
    first, second = list_members(path)[0]
    with pytest.raises(Reject) as caught:
        read_member(path, first)
    assert (caught.value.stage, caught.value.reason) == ("archive", "wrong_crc")
    assert TAKE in caught.value.message
    assert read_member(path, second) == VIDEO


def test_a_spoiled_stream_is_corrupt(tmp_path):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO), packed=True)
    spoiled = bytearray(path.read_bytes())
    spoiled[30 + len(TAKE)] = 0xFF  # a deflate block type that does not exist
    path.write_bytes(spoiled)
    (member,), _ = list_members(path)
    with pytest.raises(Reject) as caught:
        read_member(path, member)
    assert caught.value.reason == "corrupt"


def test_a_take_shorter_than_declared_is_corrupt(tmp_path):
    path = patched(zipped(tmp_path / "a.zip", (TAKE, VIDEO)), 24, "<L", len(VIDEO) + 1)
    (member,), _ = list_members(path)
    with pytest.raises(Reject) as caught:
        read_member(path, member)
    assert caught.value.reason == "corrupt"


def test_header_and_table_of_contents_must_agree_on_the_name(tmp_path):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO))
    path.write_bytes(path.read_bytes().replace(TAKE.encode(), OTHER.encode(), 1))
    (member,), _ = list_members(path)
    with pytest.raises(Reject) as caught:
        read_member(path, member)
    assert caught.value.reason == "corrupt"


def test_an_archive_that_changed_since_it_was_listed(tmp_path):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO))
    (member,), _ = list_members(path)
    zipped(path, (TAKE, VIDEO[::-1]))
    with pytest.raises(Reject) as caught:
        read_member(path, member)
    assert caught.value.reason == "changed"


@pytest.mark.parametrize("kind", ["not_a_zip", "truncated_zip", "corrupt_zip", "unreadable"])
def test_archives_of_no_use(tmp_path, kind):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO))
    whole = path.read_bytes()
    if kind == "not_a_zip":
        path.write_bytes(b"<html>Too many requests</html>")
    elif kind == "truncated_zip":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "corrupt_zip":
        path.write_bytes(whole.replace(b"PK\x01\x02", b"PK\x09\x09"))
    else:
        path.unlink()
    with pytest.raises(Reject) as caught:
        list_members(path)
    assert (caught.value.stage, caught.value.reason) == ("fetch" if kind == "unreadable" else "archive", kind)
    assert str(path) in caught.value.message


def test_a_disk_that_fails_is_no_fault_of_the_archive(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", (TAKE, VIDEO))
    (member,), _ = list_members(path)

    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    for what in ("open", "__init__"):
        with monkeypatch.context() as patch:
            patch.setattr(zipfile.ZipFile, what, failing)
            with pytest.raises(Reject) as caught:
                read_member(path, member)
        assert (caught.value.stage, caught.value.reason) == ("fetch", "unreadable")


def test_an_empty_file_is_no_zip(tmp_path):
    (tmp_path / "a.zip").touch()
    with pytest.raises(Reject) as caught:
        list_members(tmp_path / "a.zip")
    assert caught.value.reason == "not_a_zip"


def test_too_many_members(tmp_path):
    path = zipped(tmp_path / "a.zip", *((f"{index}.mp4", b"x") for index in range(11)))
    assert len(list_members(path, limits=ZipLimits(members=11))[0]) == 11
    with pytest.raises(Reject) as caught:
        list_members(path, limits=ZipLimits(members=10))
    assert caught.value.reason == "too_many_members"


def test_a_huge_table_of_contents_is_not_read(tmp_path):
    entry = zipfile.ZipInfo(TAKE)
    path = zipped(tmp_path / "a.zip", (entry, b"x"))
    size = 40 << 20  # a sparse gap before the end record, said to be the table of contents
    end = path.read_bytes()[-22:]
    with path.open("r+b") as file:
        file.seek(size)
        file.write(end[:12] + struct.pack("<LL", size, 0) + end[20:])
    with pytest.raises(Reject) as caught:
        list_members(path)
    assert caught.value.reason == "too_many_members"


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 99),
)
def test_any_damage_is_a_reject_or_does_no_harm(tmp_path_factory, changes, cut):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(TAKE, VIDEO)
        archive.writestr(OTHER, VIDEO[:50], zipfile.ZIP_STORED)
    data = bytearray(buffer.getvalue())
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(data[: len(data) - cut] if cut < 20 else data)
    try:
        members, _ = list_members(path)
    except Reject:
        return
    for member in members:
        try:
            data = read_member(path, member)
            assert (len(data), zlib.crc32(data)) == (member.size, member.crc32)
        except Reject as reject:
            assert reject.stage == "archive"
