"""A failed write raises one line that says where, what and how to go on, and leaves no partial file."""

import errno
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from wording import in_order

from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import REMEDIES, DiskFault, discard, must_be_writable, one_line_faults
from sapnet_core.runtime.files import added_files, atomic_file, atomic_folder, write_bytes, write_tensors, write_text


def a_file_above(folder):
    (folder / "file").write_text("")
    return folder / "file" / "deep" / "x.json", folder / "file", errno.ENOTDIR


def the_folder_is_a_file(folder):
    (folder / "file").write_text("")
    return folder / "file" / "x.json", folder / "file", (errno.ENOTDIR, errno.EEXIST)


def a_folder_in_its_place(folder):
    (folder / "x.json" / "y").mkdir(parents=True)
    return folder / "x.json", folder / "x.json", (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST)


def a_name_too_long(folder):
    return folder / ("x" * 300), "x" * 300, errno.ENAMETOOLONG


def a_path_too_long(folder):
    return folder.joinpath(*["x" * 200] * 30) / "x.json", "x" * 200, errno.ENAMETOOLONG


def a_link_to_itself(folder):
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop" / "x.json", folder / "loop", (errno.ELOOP, errno.EEXIST)


def a_link_that_leads_nowhere(folder):
    (folder / "link").symlink_to(folder / "nowhere")
    return folder / "link" / "x.json", folder / "link", errno.EEXIST


WAYS = [
    a_file_above,
    the_folder_is_a_file,
    a_folder_in_its_place,
    a_name_too_long,
    a_path_too_long,
    a_link_to_itself,
    a_link_that_leads_nowhere,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "write", [lambda path: write_text(path, "new"), lambda path: write_tensors(path, {"x": torch.ones(3)})]
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path, way, write):
    path, named, codes = way(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DiskFault) as error:
        write(path)
    text = str(error.value)
    assert str(named) in text and "\n" not in text and text.count(": ") == 2 and ".tmp" not in text
    assert error.value.errno in (codes if isinstance(codes, tuple) else (codes,))
    # parent folders may have been made
    assert [p for p in sorted(tmp_path.rglob("*")) if "xxx" not in p.name] == before


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_file_that_a_block_writes_appears_when_it_ends_and_never_in_part(tmp_path, error):
    file = tmp_path / "deep" / "a.txt"
    with atomic_file(file) as beside:
        beside.write_text("first")
        assert not file.exists() and beside.parent == file.parent and beside.name.startswith(".")
    with pytest.raises(error), atomic_file(file) as beside:
        beside.write_text("sec")
        raise error
    assert texts(tmp_path) == {"deep/a.txt": "first"}


def test_a_block_that_writes_no_file_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(OSError, match="a.txt: "), atomic_file(tmp_path / "a.txt"):
        pass
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_files_are_added_to_a_folder_all_or_none(tmp_path, error):
    folder = tmp_path / "deep" / "frames"
    with added_files(folder) as beside:
        fill(beside, {"1.txt": "one", "2.txt": "two"})
        assert not folder.exists()
    with added_files(folder) as beside:
        fill(beside, {"2.txt": "new two", "3.txt": "three"})
    with pytest.raises(error), added_files(folder) as beside:
        fill(beside, {"1.txt": "never", "4.txt": "never"})
        raise error
    assert texts(tmp_path) == {f"deep/frames/{n}.txt": text for n, text in ((1, "one"), (2, "new two"), (3, "three"))}


FULL = {"a.txt": "new a", "sub/b.txt": "new b"}


def fill(folder, files=FULL):
    for name, text in files.items():
        write_text(folder / name, text)


def texts(folder):
    return {f.relative_to(folder).as_posix(): f.read_text() for f in folder.rglob("*") if f.is_file()}


def test_a_folder_appears_with_all_its_files(tmp_path):
    folder = tmp_path / "deep" / "made"
    with atomic_folder(folder, folder.is_dir) as beside:
        fill(beside)
        assert not folder.exists() and beside.parent == folder.parent and beside.name.startswith(".")
    assert texts(folder) == FULL and [*folder.parent.iterdir()] == [folder]


@pytest.mark.parametrize("there", [None, {"a.txt": "old"}], ids=["absent", "there"])
@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_an_error_leaves_no_part_of_a_folder(tmp_path, error, there):
    folder = tmp_path / "made"
    fill(folder, there or {})
    with pytest.raises(error), atomic_folder(folder, lambda: False) as beside:
        fill(beside)
        raise error
    assert texts(tmp_path) == {f"made/{name}": text for name, text in (there or {}).items()}
    assert {path.name for path in tmp_path.iterdir()} <= {"made"}


def test_a_folder_in_the_way_is_replaced_unless_it_is_intact(tmp_path):
    folder = tmp_path / "made"
    fill(folder, {"a.txt": "old", "more.txt": "old"})
    with atomic_folder(folder, lambda: texts(folder) == FULL) as beside:
        fill(beside)
    assert texts(folder) == FULL and [*tmp_path.iterdir()] == [folder]
    first = (folder / "a.txt").stat().st_ino
    with atomic_folder(folder, lambda: texts(folder) == FULL) as beside:
        fill(beside)
    assert (folder / "a.txt").stat().st_ino == first and [*tmp_path.iterdir()] == [folder]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_in_the_way_of_a_folder_is_removed_and_what_a_link_leads_to_stays(tmp_path, kind):
    folder, mine = tmp_path / "made", tmp_path / "mine"
    fill(mine, {"a.txt": "mine"})
    folder.write_text("old") if kind == "file" else folder.symlink_to(mine)
    with atomic_folder(folder, lambda: False) as beside:
        fill(beside)
    assert texts(folder) == FULL and not folder.is_symlink() and texts(mine) == {"a.txt": "mine"}


def test_an_error_is_no_matter_once_another_process_has_written_the_folder(tmp_path):
    folder = tmp_path / "made"
    with atomic_folder(folder, lambda: folder.is_dir() and texts(folder) == FULL) as beside:
        fill(folder)  # as another process would
        raise OSError(errno.ENOSPC, "full", str(beside))
    assert texts(folder) == FULL and [*tmp_path.iterdir()] == [folder]


def test_proc_takes_no_folder():
    if not os.path.isdir("/proc/self"):
        pytest.skip("no /proc here")
    for write in (
        lambda: write_text("/proc/nowhere/x.json", ""),
        lambda: must_be_writable(environment.Path("/proc/no")),
    ):
        with pytest.raises(DiskFault, match="/proc/no"):
            write()


def test_a_file_larger_than_allowed_is_one_line_and_the_old_one_stays(tmp_path):
    """The size limit holds for a whole process, so the write runs in a process of its own."""
    write_text(tmp_path / "x.txt", "old")
    script = f"""
        import resource
        from sapnet_core.runtime.files import write_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_bytes({str(tmp_path / "x.txt")!r}, bytes(9999))
        except OSError as error:
            print(error)
    """
    variables = {**os.environ, "PYTHONPATH": str(environment.root())}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=variables, capture_output=True, text=True, check=True
    ).stdout
    assert in_order(said, tmp_path / "x.txt", os.strerror(errno.EFBIG), REMEDIES[errno.EFBIG])
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"] and (tmp_path / "x.txt").read_text() == "old"


@pytest.mark.parametrize("code", REMEDIES)
def test_every_fault_has_a_remedy_and_travels_between_processes(tmp_path, code):
    with pytest.raises(DiskFault) as error, one_line_faults(tmp_path, "SAPNET_RUNS"), one_line_faults(tmp_path / "x"):
        raise OSError(code, os.strerror(code))
    back = pickle.loads(pickle.dumps(error.value))
    assert str(back) == str(error.value) and back.errno == code and isinstance(back, DiskFault)
    assert str(tmp_path / "x") in str(back) and os.strerror(code) in str(back)
    assert ("SAPNET_RUNS" in str(back)) == (code not in (errno.EMFILE, errno.ENFILE)) and "\n" not in str(back)


def test_a_rename_onto_something_else_names_the_target(tmp_path):
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "full" / "x", "x")
    write_text(tmp_path / "file", "x")
    for one, other in (("folder", "file"), ("file", "folder"), ("folder", "full")):
        with pytest.raises(DiskFault) as error, one_line_faults(tmp_path, "SAPNET_RUNS"):
            os.replace(tmp_path / one, tmp_path / other)
        assert str(error.value).startswith(f"{tmp_path / other}: ") and "move it away" in str(error.value)


def test_errors_that_are_none_of_this_folder_pass(tmp_path):
    for error in (
        OSError("disk full"),
        FileNotFoundError("no such dive"),
        OSError(errno.ECONNREFUSED, "no one"),
        PermissionError(errno.EACCES, "Permission denied", "/data/x.pkl"),
    ):
        with pytest.raises(type(error)) as caught, one_line_faults(tmp_path, "SAPNET_RUNS"):
            raise error
        assert caught.value is error


def test_a_folder_is_tried_before_work(tmp_path):
    must_be_writable(tmp_path / "a" / "b")
    assert not [*(tmp_path / "a" / "b").iterdir()]
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(DiskFault, match="file: "):
        must_be_writable(tmp_path / "file" / "b")


def test_what_is_in_the_way_is_taken_away_and_links_are_not_followed(tmp_path):
    kept = write_text(tmp_path / "kept" / "x.txt", "x").parent
    write_text(tmp_path / "folder" / "deep" / "x.txt", "x")
    write_text(tmp_path / "file", "x")
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "file", "link", "nowhere", "pipe", "absent"):
        discard(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"] and (kept / "x.txt").read_text() == "x"
