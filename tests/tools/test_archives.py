"""Archives that mean harm, or are damaged: each ends in a reason, and nothing appears outside the model's folder."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway_tools.archives import unpack, unpack_from
from slipway_tools.digest import measure
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import Limits
from tests.tools.support import PACKERS, Files, coreutils_digest, model, tar, tar_gz, write, zipped

SMALL = Limits(max_bytes=1 << 20, max_files=100)


def attempt(content: bytes, tmp_path: Path, limits: Limits = SMALL) -> ModelError | None:
    """Unpack, check that nothing escaped, and return the refusal."""
    archive, target = tmp_path / "archive", tmp_path / "jail" / "target"
    archive.write_bytes(content)
    target.mkdir(parents=True)
    try:
        unpack(archive, target, limits)
    except ModelError as error:
        refusal: ModelError | None = error
    else:
        refusal = None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "jail"]
    assert [path.name for path in (tmp_path / "jail").iterdir()] == ["target"]
    for path in target.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX)
    return refusal


NAMES = [
    "../evil",
    "a/../../evil",
    "a/..",
    "/etc/evil",
    "//evil",
    "..\\evil",
    "C:\\evil",
    "a\nb",
    "a\x1b[31mb",
    "saved_model\u200b.pb",
    "\u202egnp.exe",
    "x" * 256,
    "/".join(["d"] * 33),
    "/".join(["d" * 100] * 11),
]


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize("name", NAMES)
def test_names_that_must_not_become_paths(form: str, name: str, tmp_path: Path) -> None:
    refusal = attempt(PACKERS[form]({"saved_model.pb": b"x", name: b"evil"}), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE
    assert "\x1b" not in refusal.message
    assert "\n" not in refusal.message


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/Model.txt", "a/model.txt"),
        ("A/one", "a/two"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("\u212bngstrom", "\u00e5ngstrom"),
        ("file", "\uff46ile"),
    ],
)
def test_names_that_look_the_same(form: str, first: str, second: str, tmp_path: Path) -> None:
    refusal = attempt(PACKERS[form]({first: b"1", second: b"2"}), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE
    assert "only in case or Unicode form" in refusal.message


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b", "a//b"), ("a", "./a")])
def test_names_that_contradict_each_other(form: str, first: str, second: str, tmp_path: Path) -> None:
    refusal = attempt(PACKERS[form]({first: b"1", second: b"2"}), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE


def test_a_tar_member_twice(tmp_path: Path) -> None:
    first, second = tar({"a": b"1"}), tar({"a": b"2"})
    refusal = attempt(first[:1024] + second, tmp_path)
    assert refusal is not None
    assert "occurs twice" in refusal.message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_member_twice(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    refusal = attempt(out.getvalue(), tmp_path)
    assert refusal is not None
    assert "occurs twice" in refusal.message


def member(kind: bytes, name: str = "innocent", target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("pack", [tar, tar_gz])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "named pipe"),
    ],
)
def test_tar_members_that_are_no_files(pack: Callable[..., bytes], kind: bytes, words: str, tmp_path: Path) -> None:
    refusal = attempt(pack({}, extra=[member(kind, target="/etc/passwd")]), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE
    assert words in refusal.message


def test_a_file_through_a_link_lands_nowhere(tmp_path: Path) -> None:
    link = tar({}, extra=[member(tarfile.SYMTYPE, "door", "..")])[:512]
    refusal = attempt(link + tar({"door/evil": b"evil"}), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_zip_members_that_are_no_files(mode: int, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("innocent")
        info.create_system = 3
        info.external_attr = (mode | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refusal = attempt(out.getvalue(), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE


def test_mode_bits_are_dropped(tmp_path: Path) -> None:
    info = tarfile.TarInfo("tool")
    info.mode, info.uid = 0o6777, 0
    folder = member(tarfile.DIRTYPE, "folder")
    folder.mode = 0o7777
    assert attempt(tar({}, extra=[info, folder]), tmp_path) is None
    target = tmp_path / "jail" / "target"
    assert (target / "tool").stat().st_mode & 0o7777 == 0o644
    assert (target / "folder").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_a_bomb_stops_at_the_limit(form: str, tmp_path: Path) -> None:
    content = PACKERS[form]({"zeros": bytes(64 << 20)})
    assert len(content) < SMALL.max_bytes
    refusal = attempt(content, tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.TOO_LARGE
    assert measure(tmp_path / "jail" / "target").bytes <= SMALL.max_bytes


def test_a_bomb_of_many_small_files(tmp_path: Path) -> None:
    refusal = attempt(zipped({str(number): bytes(20 << 10) for number in range(90)}), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.TOO_LARGE


def test_a_zip_that_understates_its_sizes(tmp_path: Path) -> None:
    content = bytearray(zipped({"zeros": bytes(2 << 20)}))
    directory = content.index(b"PK\x01\x02")
    struct.pack_into("<L", content, directory + 24, 10)
    struct.pack_into("<L", content, 22, 10)
    refusal = attempt(bytes(content), tmp_path)
    assert refusal is not None
    assert refusal.reason in {Reason.UNSUPPORTED_ARCHIVE, Reason.TOO_LARGE}
    assert measure(tmp_path / "jail" / "target").bytes <= SMALL.max_bytes


def test_a_zip_whose_members_share_their_bytes(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"same", "b": b"same"}, method=zipfile.ZIP_STORED))
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<L", content, second + 42, 0)
    refusal = attempt(bytes(content), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE
    assert "overlaps" in refusal.message


@pytest.mark.parametrize("form", PACKERS)
def test_too_many_entries(form: str, tmp_path: Path) -> None:
    refusal = attempt(PACKERS[form]({str(number): b"" for number in range(101)}), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.TOO_LARGE
    assert "--max-files" in refusal.message


def test_a_zip_directory_is_counted_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = zipped({str(number): b"" for number in range(101)})

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("zipfile read the directory")

    monkeypatch.setattr(zipfile.ZipFile, "__init__", loaded)
    refusal = attempt(content, tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.TOO_LARGE


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_tar_header_of_a_gigabyte_is_not_read(kind: bytes, tmp_path: Path) -> None:
    info = member(kind, "huge")
    info.size = 1 << 30
    refusal = attempt(info.tobuf() + bytes(4096), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE
    assert "unreasonable" in refusal.message


def test_endless_tar_headers(tmp_path: Path) -> None:
    refusal = attempt(member(tarfile.GNUTYPE_LONGNAME).tobuf() * 1000, tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE


def test_a_pax_header_that_renames_to_the_outside(tmp_path: Path) -> None:
    info = tarfile.TarInfo("innocent")
    info.pax_headers = {"path": "../evil"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    refusal = attempt(out.getvalue(), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSAFE_ARCHIVE
    assert "'..'" in refusal.message


@pytest.mark.parametrize("header", [{"size": "-1"}, {"size": "9" * 30}, {"GNU.sparse.major": "1"}])
def test_pax_headers_that_lie(header: dict[str, str], tmp_path: Path) -> None:
    record = "".join(f"{len(key) + len(value) + 5:02d} {key}={value}\n" for key, value in header.items()).encode()
    info = member(tarfile.XHDTYPE)
    info.size = len(record)
    content = info.tobuf() + record + bytes(512 - len(record)) + tar({"a": b"1"})
    refusal = attempt(content, tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.7])
def test_archives_that_are_cut_off(form: str, kept: float, tmp_path: Path) -> None:
    content = PACKERS[form](model(os.urandom(20_000)))
    refusal = attempt(content[: int(len(content) * kept)], tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE


def test_a_tar_cut_exactly_between_two_members(tmp_path: Path) -> None:
    refusal = attempt(tar({"a": b"1", "b": b"2"})[:1024], tmp_path)
    assert refusal is not None
    assert "cut off" in refusal.message


def test_a_gzip_whose_checksum_is_wrong(tmp_path: Path) -> None:
    content = bytearray(tar_gz(model()))
    content[-6] ^= 1
    refusal = attempt(bytes(content), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE


def test_a_zip_whose_content_was_changed(tmp_path: Path) -> None:
    content = zipped({"a": b"right"}, method=zipfile.ZIP_STORED).replace(b"right", b"wrong")
    refusal = attempt(content, tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE


def test_a_zip_whose_directory_points_before_its_beginning(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"right"}))
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<L", content, end + 16, end)  # where the directory starts: later than it does
    refusal = attempt(bytes(content), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE
    assert "is damaged" in refusal.message


def two_directories(files: int, *, record_first: bool) -> bytes:
    """Return a zip that has a list of `files` names in its zip64 record, and an empty one in the record of old."""
    plain = zipped({f"f{number}": b"" for number in range(files)})
    *_, count, size, offset, _ = struct.unpack_from("<4s4H2LH", plain, plain.rindex(b"PK\x05\x06"))
    listed = plain[: offset + size]
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    innocent = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 0, 0, 0, len(listed))
    records = record + innocent if record_first else innocent + record
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(listed), 1)
    old = 0xFFFFFFFF if record_first else 0
    return listed + records + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, old, old, 0)


@pytest.mark.parametrize("record_first", [True, False])
def test_a_zip_with_two_directories_is_measured_by_the_one_that_would_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, record_first: bool
) -> None:
    content = two_directories(101, record_first=record_first)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refusal = attempt(content, tmp_path)
    assert refusal is not None
    assert refusal.reason in {Reason.TOO_LARGE, Reason.UNSUPPORTED_ARCHIVE}


def test_a_zip_directory_of_few_but_long_records_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(4):
            info = zipfile.ZipInfo(f"f{number}")
            info.comment = bytes(0xFFFF)
            archive.writestr(info, b"")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refusal = attempt(out.getvalue(), tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.TOO_LARGE


def test_a_zip_with_the_large_form_of_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    content = bytearray(zipped(model()))
    assert b"PK\x06\x06" in content
    # The old fields say "look there", as they do above 65535 entries or 4 GiB.
    struct.pack_into("<HHLL", content, content.rindex(b"PK\x05\x06") + 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    assert attempt(bytes(content), tmp_path) is None
    assert measure(tmp_path / "jail" / "target").files == 4


def test_an_encrypted_zip(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"1"}, method=zipfile.ZIP_STORED))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    refusal = attempt(bytes(content), tmp_path)
    assert refusal is not None
    assert "encrypted" in refusal.message


def test_a_zip_with_a_method_that_needs_much_memory(tmp_path: Path) -> None:
    refusal = attempt(zipped({"a": b"1"}, method=zipfile.ZIP_LZMA), tmp_path)
    assert refusal is not None
    assert "compression method 14" in refusal.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>Sign in</title>", "HTML page"),
        (b"BZh91AY&SY", "neither tar"),
        (gzip.compress(b"not a tar" * 100, mtime=0), "damaged"),
        (b"PK\x03\x04" + bytes(100), "cut off"),
        (b"PK\x05\x06" + bytes(17), "cut off"),
        (b"PK\x05\x06" + b"\xff" * 18, "damaged"),
    ],
)
def test_content_that_is_no_archive(content: bytes, words: str, tmp_path: Path) -> None:
    refusal = attempt(content, tmp_path)
    assert refusal is not None
    assert refusal.reason == Reason.UNSUPPORTED_ARCHIVE
    assert words in refusal.message


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_in_every_tar_dialect(form: int, tmp_path: Path) -> None:
    long = "/".join(["folder" * 10] * 3) + "/é"
    files = {long: b"long", "überall": b"short", "empty": b""}
    assert attempt(tar(files, form=form), tmp_path) is None
    assert {name: (tmp_path / "jail" / "target" / name).read_bytes() for name in files} == files


def test_what_gnu_tar_and_bsd_style_prefixes_write(tmp_path: Path) -> None:
    source = write(tmp_path / "jail" / "source", model() | {"x" * 120 + "/y": b"long"})
    (source / "empty").mkdir()
    archive, target = tmp_path / "archive.tar.gz", tmp_path / "target"
    assert os.system(f"tar -C {source} -czf {archive} .") == 0
    target.mkdir()
    unpack(archive, target, SMALL)
    assert measure(target).digest == coreutils_digest(source)


def test_a_tar_from_a_pipe(tmp_path: Path) -> None:
    for number, content in enumerate([tar(model()), tar_gz(model())]):
        target = tmp_path / str(number)
        target.mkdir()
        unpack_from(io.BytesIO(content), target, SMALL)
        assert measure(target).files == 4
    with pytest.raises(ModelError) as refused:
        unpack_from(io.BytesIO(zipped(model())), tmp_path, SMALL)
    assert refused.value.reason == Reason.UNSUPPORTED_ARCHIVE


SAFE_NAME = st.text("abcXYZ0-_ é", min_size=1, max_size=8).filter(lambda text: text not in {".", ".."})
PATHS = st.lists(SAFE_NAME, min_size=1, max_size=4).map("/".join)
ANY_NAME = st.text(min_size=1, max_size=30) | st.lists(
    st.sampled_from(["..", ".", "a", "A", "", "b\\c", "\u200b", "é", "e\u0301"]), min_size=1, max_size=6
).map("/".join)


def consistent(names: list[str]) -> bool:
    """No two names alike and none both file and folder: what an honest packer produces."""
    keys = {name.casefold() for name in names}
    prefixes: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            prefix = "/".join(parts[:depth])
            if prefix.casefold() in keys or prefixes.setdefault(prefix.casefold(), prefix) != prefix:
                return False
    return len(keys) == len(names)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(PATHS, st.binary(max_size=2000), min_size=1, max_size=8), form=st.sampled_from(list(PACKERS))
)
def test_every_honest_archive_is_unpacked_as_it_is(
    files: Files, form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not consistent(list(files)):
        return
    tmp_path = tmp_path_factory.mktemp("honest")
    assert attempt(PACKERS[form](files), tmp_path) is None
    target = tmp_path / "jail" / "target"
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == files
    assert measure(target).digest == coreutils_digest(target)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(ANY_NAME, min_size=1, max_size=6), form=st.sampled_from(list(PACKERS)))
def test_no_name_writes_outside(names: list[str], form: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        content = PACKERS[form](dict.fromkeys(names, b"x"))
    except (ValueError, IndexError):
        return  # the packer cannot write such a name
    attempt(content, tmp_path_factory.mktemp("names"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(list(PACKERS)), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8))
def test_damage_ends_in_a_reason(
    form: str, flips: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(PACKERS[form](model()))
    for position, byte in flips:
        content[int(position * (len(content) - 1))] = byte
    # Whatever the damage, the outcome is an unpacked folder or a ModelError: `attempt` lets nothing else pass.
    attempt(bytes(content), tmp_path_factory.mktemp("damaged"))
