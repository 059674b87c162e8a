"""A folder of own videos or sequences becomes records; hostile or wrong files in it become one-line errors."""

import io
import math
import os
import pickle
import re
import struct
import unicodedata
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from sapnet_core.datasets import AnnotationError, array_files, load_records
from sapnet_core.datasets.own_videos import folder_faults, read_folder, read_sequence, sequence_shape
from sapnet_core.runtime.command_line import first_line

HEAD = "id,path,score,split\n"
ROWS = "a,a.npy,7.5,train\nb,b.npy,,train\nc,c.npy,3,test\n"


@pytest.fixture
def own(tmp_path):
    """A function that writes records.csv beside three sequences and reads it; its attribute `root` is the folder."""
    root = tmp_path / "own"
    root.mkdir()
    for i, name in enumerate("abc"):
        np.save(root / f"{name}.npy", np.full((10 + i, 4), i, np.float32))

    def read(table, encoding="utf-8"):
        (root / "records.csv").write_bytes(table.encode(encoding))
        return read_folder(root)

    read.root = root
    return read


def refused(call, fault, kind=AnnotationError):
    with pytest.raises(kind, match=fault) as error:
        call()
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


# ---- records.csv


def test_the_smallest_table(own):
    first, second, third = own(HEAD + ROWS)
    assert (first.key, first.path, first.score, first.split) == ("a", "a.npy", 7.5, "train")
    assert (first.start, first.end) == (0, 10)
    assert math.isnan(second.score) and second.split == "train"  # unlabeled
    assert (third.score, third.frames, third.group, third.difficulty) == (3, 12, "", 1)
    assert load_records("folder", own.root)[0] == first


def test_every_column(own):
    table = (
        "note,#mine,transitions,end_frame,start_frame,group,difficulty,split,score,path,id\n"
        '"a note, with comma",1,4; 6,9,2,beam,2.5,train,5,a.npy,first\n'
        ",,,,,,,test,1,b.npy,second\n"
    )
    others = (table.replace("\n", "\r\n"), "utf-8-sig"), (table + ",,,,,,,,,,\n\n", "utf-8")
    for text, encoding in ((table, "utf-8"), *others):
        first, second = own(text, encoding)
        assert (first.key, first.start, first.end, first.group, first.difficulty) == ("first", 2, 9, "beam", 2.5)
        assert first.transitions == (2, 4) and first.subactions == (0, 1, 2)  # relative to the record's start
        assert (second.start, second.end, second.transitions, second.subactions) == (0, 11, (), ())


def test_frame_folders_and_videos_are_asked_for_their_length(own):
    (own.root / "frames").mkdir()
    for i in range(5):
        Image.new("RGB", (16, 12)).save(own.root / "frames" / f"{i + 1:04d}.png")
    (record,) = (r for r in own(HEAD + ROWS + "d,frames,1,train\n") if r.key == "d")
    assert (record.path, record.end) == ("frames", 5)
    (own.root / "torn.mp4").write_bytes(b"no video")
    known = own("end_frame," + HEAD + "12,d,torn.mp4,1,train\n,a,a.npy,1,test\n")[0]
    assert known.end == 12  # a video is not opened if its end is given
    refused(lambda: own(HEAD + ROWS + "d,torn.mp4,1,train\n"), "torn.mp4: no video", ValueError)


@pytest.mark.parametrize(
    "row, fault",
    [
        ("d,../a.npy,1,train", "path '../a.npy' leads out of the folder"),
        ("d,x/../../a.npy,1,train", "leads out of the folder"),
        ("d,/etc/passwd,1,train", "path '/etc/passwd' leads out of the folder"),
        ("d,C:\\a.npy,1,train", "leads out of the folder"),
        ("d,..\\a.npy,1,train", "leads out of the folder"),
        ("d,link.npy,1,train", "leads out of the folder by a link"),
        ("d,way/out.npy,1,train", "leads out of the folder by a link"),
        ("d,.,1,train", "leads out of the folder"),
        ("d,,1,train", "path is empty"),
        ("d,absent.mp4,1,train", "path 'absent.mp4' is not there"),
        ("d,pipe.npy,1,train", "path 'pipe.npy' is not a file or folder"),
        ("a,b.npy,1,train", "id 'a' appears twice"),
        (",b.npy,1,train", "id '' .*is empty"),
        ("d,a.npy,1,val", "split 'val' is unknown"),
        ("d,a.npy,1,", "split '' is unknown"),
        ("d,a.npy,good,train", "score 'good' is not a number"),
        ("d,a.npy,inf,train", "score 'inf' is not a number"),
        ('d,a.npy,"7,5",train', "score '7,5' is not a number"),
        ("d,a.npy,,test", "test row 'd' has no score"),
        ("d,a.npy,nan,test", "test row 'd' has no score"),
        ("d,a.npy,1", "3 cells, but the first line has 4"),
        ("d,a.npy,1,train,5", "5 cells, but the first line has 4"),
    ],
)
def test_bad_rows_are_named_by_their_line(own, tmp_path, row, fault):
    np.save(tmp_path / "out.npy", np.zeros((5, 2), np.float32))
    os.symlink(tmp_path / "out.npy", own.root / "link.npy")
    os.symlink(tmp_path, own.root / "way")
    os.mkfifo(own.root / "pipe.npy")
    refused(lambda: own(HEAD + ROWS + row + "\n"), f"records.csv: line 5: .*{fault}.*: ")


@pytest.mark.parametrize(
    "values, fault",
    [
        ("5,5,", r"span \[5, 5\) of a.npy holds no frames, the file has 10"),
        ("7,5,", r"span \[7, 5\)"),
        ("0,11,", r"span \[0, 11\) of a.npy holds no frames, the file has 10"),
        ("-1,5,", "start_frame '-1' is not a frame number"),
        ("1.5,5,", "start_frame '1.5' is not a frame number"),
        ("0,99999999999,", "end_frame '99999999999' is not a frame number"),
        ("0,9,3 3", "transitions '3 3' do not ascend between 0 and 9"),
        ("2,9,2 5", "transitions '2 5' do not ascend between 2 and 9"),
        ("0,9,3;9", "transitions '3;9' do not ascend"),
        ("0,9,three", "transitions 'three' is not a frame number"),
    ],
)
def test_bad_spans(own, values, fault):
    table = "id,path,score,split,start_frame,end_frame,transitions\n"
    refused(lambda: own(table + f"a,a.npy,1,train,{values}\nb,b.npy,1,test,,,\n"), f"records.csv: line 2: {fault}")


def test_bad_tables(own):
    refused(lambda: own("id,path,score\na,a.npy,1\n"), "records.csv: no column 'split'")
    refused(lambda: own(""), "records.csv: not a table of UTF-8 text, but an empty file")
    refused(lambda: own("jury," + HEAD), "column 'jury' is unknown: use id, path, .*or begin its name with #")
    refused(lambda: own("id," + HEAD), "column 'id' appears twice")
    refused(lambda: own(HEAD + "a,a.npy,,train\nc,c.npy,1,test\n"), "no train row has a score")
    refused(lambda: own(HEAD + "a,a.npy,1,train\n"), "no test row has a score")
    refused(lambda: own(HEAD), "records.csv: .*no rows")
    refused(lambda: own(HEAD + ROWS, "utf-16"), "records.csv: not a table of UTF-8 text")
    refused(lambda: own(HEAD + 'a,"a.npy,1,train\n'), "records.csv: not a table of UTF-8 text")
    zero = "id,path,score,split,difficulty\na,a.npy,1,train,0\nb,b.npy,1,test,\n"
    refused(lambda: own(zero), "line 2: difficulty 0 is not above 0")
    (own.root / "records.csv").unlink()
    refused(lambda: read_folder(own.root), "records.csv: no such file: write a table with the columns id, path")


@pytest.fixture
def films(own):
    """Add files with unusual names to the folder; returns a function that reads a row's path, as found, or raises."""
    for name in (NFD, "films/anna.mp4.npy", "films/Ben 1.npy", "films/carl.NPY", "9.41\u202fAM.npy", "50%.npy"):
        (own.root / name).parent.mkdir(exist_ok=True)
        np.save(own.root / "x.npy", np.ones((5, 4), np.float32))
        (own.root / "x.npy").rename(own.root / name)
    return lambda path: own(f'{HEAD}{ROWS}d,"{path}",1,train\n')[3].path


NFC, NFD = (unicodedata.normalize(form, "films/Zoë.npy") for form in ("NFC", "NFD"))


def test_a_path_is_found_as_it_is_meant(films, own):
    real = NFD if NFD in {f"films/{name}" for name in os.listdir(own.root / "films")} else NFC
    for path in (NFC, NFD, NFC.replace("/", "\\"), "./" + NFC, "films//" + NFD[6:], f" {NFC} "):
        assert films(path) in (real, path)
        assert (own.root / films(path)).is_file()
    for path in ("films\\Ben 1.npy", "films/carl.NPY", "9.41\u202fAM.npy", "50%.npy"):
        assert films(path) == path.replace("\\", "/")


@pytest.mark.parametrize(
    "path, near",
    [
        ("films/ben 1.npy", "'films/Ben 1.npy' (capitalized differently)"),
        ("Films\\Ben 1.npy", "'films/Ben 1.npy' (capitalized differently)"),
        ("films/carl.npy", "'films/carl.NPY' (capitalized differently)"),
        ("films/Ben%201.npy", "'films/Ben 1.npy' is"),
        ("films/Ben_1.npy", "'films/Ben 1.npy' is"),
        ("films/Ben  1.npy", "that looks the same ('films/Ben 1.npy')"),
        ("9.41 AM.npy", r"that looks the same ('9.41\u202fAM.npy')"),
        ("films/Ben 1.mp4", "'films/Ben 1.npy' (with another extension)"),
        ("films/Ben 1", "'films/Ben 1.npy' (with another extension)"),
        ("films/anna.mp4", "'films/anna.mp4.npy' (with another extension)"),
        ("Ben 1.npy", "'films/Ben 1.npy' is"),
        ("films/b.npy", "'b.npy' is"),
        ("own/films/Ben 1.npy", "'films/Ben 1.npy' is"),
        (NFC.encode().decode("cp1252"), "(UTF-8 was read as code page 1252)"),
    ],
)
def test_what_lies_near_a_path_is_said(films, own, path, near):
    if (own.root / path).exists():
        pytest.skip("capitals mean nothing to this file system")
    refused(lambda: films(path), f"line 5: path .* is not there, but .*{re.escape(near)}.*: write that path")


def test_two_names_of_one_look_are_not_chosen_from(films, own):
    for name in ("o\u0302\u0323.npy", "o\u0323\u0302.npy"):  # both orders of one letter's diacritics
        np.save(own.root / name, np.ones((5, 4), np.float32))
    if len({name for name in os.listdir(own.root) if name.startswith(("o", "ộ"))}) < 2:
        pytest.skip("this file system takes both for one")
    refused(lambda: films("ộ.npy"), r"2 names that look the same \('o\\u0302\\u0323.npy'")


@pytest.mark.parametrize(
    "path, fault",
    [
        ("https://example.org/a.mp4", "is a web address: download"),
        ("file:///films/a.npy", "is a web address"),
        ("~/films/a.npy", "leads out of the folder"),
        ("\\\\server\\films\\a.npy", "leads out of the folder"),
        ("\\films\\a.npy", "leads out of the folder"),
        ("gone.npy", "is not a file or folder, but a link that leads nowhere"),
        ("round.npy", "is not a file or folder, but a link that leads nowhere"),
        ("pipe.npy", "is not a file or folder, but a pipe"),
        ("empty", "is a folder without frames .*, it holds nothing: "),
        ("films", "is a folder without frames .*, it holds Ben 1.npy"),
        ("folder.npy", "is a folder with the extension of a sequence"),
        ("a\u200b.npy", r"not printable \(U\+200B is invisible: rename"),
        ("x" * 300 + ".npy", "is not there"),
    ],
)
def test_what_a_path_leads_to_is_named(films, own, path, fault):
    (own.root / "gone.npy").symlink_to(own.root / "elsewhere.npy")
    (own.root / "round.npy").symlink_to(own.root / "round.npy")
    os.mkfifo(own.root / "pipe.npy")
    for name in ("empty", "folder.npy"):
        (own.root / name).mkdir()
    refused(lambda: films(path), f"records.csv: line 5: path .*{fault}")
    if path in ("empty", "films"):  # an end frame does not hide the fault
        refused(lambda: own(f"end_frame,{HEAD}5,d,{path},1,train\n,a,a.npy,1,test\n"), f"line 2: path .*{fault}")


@pytest.mark.parametrize(
    "first, second",
    [
        ("Zo\u00eb", "Zoe\u0308"),
        ("A1", "\uff211"),
        ("a b", "a  b"),
        ("x", "x\ufe0f"),
    ],
)
def test_ids_of_one_look_are_one_id(own, first, second):
    def rows(*ids):
        return HEAD + "".join(f"{key},a.npy,{n},{part}\n" for n, (key, part) in enumerate(ids))

    for one, two in ((first, first), (first, second), (second, first)):
        table = rows((one, "train"), ("other", "train"), (two, "test"))
        refused(lambda table=table: own(table), "line 4: id .* appears twice, first in line 2")
    assert [r.key for r in own(rows(("a", "train"), ("A", "train"), ("=1+1", "train"), (second, "test")))][3] == second


@pytest.mark.parametrize("sign", ["\u200b", "\u200d", "\u2066", "\u202e", "\xad", "\ufeff", "\xa0", "\u3164", "\u034f"])
def test_signs_that_cannot_be_seen_are_named(own, sign):
    table = "group," + HEAD + "{}x,a{},a.npy,1,train\nx,b,b.npy,2,test\n"
    name = rf"\(U\+{ord(sign):04X} is invisible\)"
    refused(lambda: own(table.format("", sign + "b")), f"line 2: id .*{name}")
    refused(lambda: own(table.format("x" + sign, "")), f"line 2: group .*{name}")


def test_groups_of_one_form_are_one_group(own):
    table = "group," + HEAD + "Zo\u00eb,a,a.npy,1,train\nZoe\u0308,b,b.npy,2,test\n"
    assert {record.group for record in own(table)} == {"Zo\u00eb"}
    refused(lambda: own(table.replace("Zoe\u0308", "Zo\u00eb\ufe0e")), "line 3: group .*invisible")
    refused(
        lambda: own(table.replace("Zo", "A1,Zo", 1).replace("A1,Zo\u00eb", "A1").replace("Zoe\u0308", "\uff211")),
        "line 3: group .* looks like that of line 2",
    )


@pytest.mark.parametrize(
    "text, value",
    [
        ("7", 7),
        ("+7.5", 7.5),
        ("-.5", -0.5),
        ("7.", 7),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-0", 0),
        ("3e38", 3e38),
    ],
)
def test_numbers_are_read(own, text, value):
    assert own(HEAD + f"a,a.npy,{text},train\nb,b.npy,1,test\n")[0].score == value


@pytest.mark.parametrize("text", ["1_000", "0x10", "infinity", "-inf", "1e", "7 5", "٣", "7,5", "−1", "1e999", "80%"])
def test_what_is_no_number_is_named(own, text):
    fault = f"line 2: score {re.escape(repr(text))} is (not a number|beyond the range of float32)"
    refused(lambda: own(HEAD + f'a,a.npy,"{text}",train\nb,b.npy,1,test\n'), fault)


@pytest.mark.parametrize(
    "score, difficulty, fault",
    [
        ("1e39", "1", "score '1e39' is beyond the range of float32"),
        ("1e-300", "1", "score '1e-300' is beyond the range of float32"),
        ("1", "1e39", "difficulty '1e39' is beyond the range of float32"),
        ("1e30", "1e-30", r"score 1e\+30 over difficulty 1e-30 is beyond the range of float32"),
    ],
)
def test_numbers_that_float32_does_not_hold_are_refused(own, score, difficulty, fault):
    table = f"difficulty,{HEAD}{difficulty},a,a.npy,{score},train\n1,b,b.npy,1,test\n"
    refused(lambda: own(table), f"line 2: {fault}.*: rescale")


def test_every_fault_of_a_table_is_told_at_once(own):
    table = HEAD + ROWS + "d,d.npy,1,train\ne,a.npy,x,train\na,a.npy,1,val\n"
    with pytest.raises(AnnotationError) as error:
        own(table)
    first, *told = str(error.value).splitlines()
    assert str(own.root / "records.csv") in first and "4 faults" in first
    starts = ["line 5: path", "line 6: score", "line 7: id", "line 7: split"]
    assert [line[: len(start)] for line, start in zip(told, starts, strict=True)] == starts
    assert all(": " in line.partition(": ")[2] for line in told)  # each fault has a remedy
    assert first_line(error.value).splitlines() == [first, *told]
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)  # as errors of worker processes are sent
    assert [fault.partition("records.csv: ")[2] for fault in folder_faults(own.root)] == told
    own(HEAD + ROWS)
    assert folder_faults(own.root) == []
    (own.root / "records.csv").write_text("id;path;score;split\n")
    assert len(folder_faults(own.root)) == 1


def test_ten_faults_of_a_table_are_told_and_the_others_counted(own):
    for row, fault in (("x{0},x{0}.npy,1,train\n", "path 'x"), ("x{0},a.npy,1\n", "3 cells")):
        with pytest.raises(AnnotationError) as error:
            own(HEAD + ROWS + "".join(row.format(i) for i in range(13)))
        first, *told = str(error.value).splitlines()
        assert "13 faults" in first and len(told) == 11 and "3 more" in told[-1]
        assert all(fault in line for line in told[:10]) and told[9].startswith("line 14")


# ---- sequences


def test_kinds_of_sequences(tmp_path):
    values = np.arange(24, dtype=np.float64).reshape(6, 4)
    want = torch.from_numpy(values).float()
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    np.save(tmp_path / "big.npy", values.astype(">f8"))
    np.save(tmp_path / "int.npy", values.astype(np.int16))
    np.savez(tmp_path / "one.npz", x=values)
    np.savez_compressed(tmp_path / "two.npz", other=np.zeros(3), features=values)
    np.savetxt(tmp_path / "plain.csv", values, delimiter=",")
    np.savetxt(tmp_path / "named.CSV", values, delimiter=",", header="a,b,c,d", comments="")
    for file in tmp_path.iterdir():
        back = read_sequence(file)
        assert back.dtype == torch.float32 and torch.equal(back, want), file.name
        assert sequence_shape(file) == (6, 4)
    joints = np.random.default_rng(0).random((7, 5, 3))
    np.save(tmp_path / "joints.npy", joints)
    assert torch.equal(read_sequence(tmp_path / "joints.npy"), torch.from_numpy(joints.reshape(7, 15)).float())
    assert sequence_shape(tmp_path / "joints.npy") == (7, 15)


class Hostile:
    def __reduce__(self):
        return os.mkdir, (Hostile.trace,)


def test_objects_are_refused_and_do_nothing(tmp_path):
    Hostile.trace = str(tmp_path / "was-here")
    array = np.array([[Hostile()]], object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", features=array)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Hostile()))
    for name in ("a.npy", "a.npz"):
        refused(lambda name=name: read_sequence(tmp_path / name), f"{name}: refused, it holds objects, which could run")
    refused(lambda: read_sequence(tmp_path / "b.npy"), "b.npy: not a NumPy array")
    assert not (tmp_path / "was-here").exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)  # plain loading does run it
    assert (tmp_path / "was-here").exists()


def test_zip_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    def packed(name, array):
        content = io.BytesIO()
        np.save(content, array)
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("features.npy", content.getvalue())
        return tmp_path / name

    bomb = packed("bomb.npz", np.zeros((1_000_000, 4), np.float32))
    assert bomb.stat().st_size < 100_000
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    refused(lambda: read_sequence(bomb), r"bomb.npz: refused, \d+ bytes that unpack to 15.3 MiB")
    monkeypatch.undo()
    # An archive that lies about its size: its directory says 1000 bytes, its stream holds 15.3 MiB.
    lying = bytearray(bomb.read_bytes())
    at = lying.rindex(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 1000)
    bomb.write_bytes(lying)
    refused(lambda: read_sequence(bomb), "bomb.npz: ")
    # Many entries, each of them small.
    with zipfile.ZipFile(tmp_path / "many.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(50):
            archive.writestr(f"{i}.npy", bytes(200_000))
    refused(lambda: read_sequence(tmp_path / "many.npz"), "many.npz: refused")


def test_an_array_that_claims_more_than_the_file_holds(tmp_path):
    def claiming(shape, name="a.npy", kind="<f4", content=bytes(64)):
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
        (tmp_path / name).write_bytes(stream.getvalue() + content)
        return tmp_path / name

    refused(lambda: read_sequence(claiming((10**6, 10**6))), "a.npy: would take .* MiB, the limit is 1024")
    refused(lambda: read_sequence(claiming((100, 4))), "a.npy: cut short")
    refused(lambda: read_sequence(claiming((2, 4))), "a.npy: longer than its header says")
    refused(lambda: read_sequence(claiming((4, 4), kind="<U1")), "a.npy: refused, it holds <U1 values")
    refused(lambda: read_sequence(claiming((4, 4), kind="<c8")), "a.npy: refused, it holds complex64 values")
    refused(lambda: read_sequence(claiming((-4, 4))), "a.npy: ")
    assert read_sequence(claiming((4, 4))).shape == (4, 4)


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (5, 0), (5, 4, 4), (5, 4, 1), (2, 3, 4, 3)])
def test_other_shapes_are_refused(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    refused(lambda: read_sequence(tmp_path / "a.npy"), "a.npy: its shape is .*: save an array .time, features")
    refused(lambda: sequence_shape(tmp_path / "a.npy"), "a.npy: its shape is")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite_are_named(tmp_path, value):
    values = np.zeros((6, 3))
    values[4, 2] = value
    np.save(tmp_path / "a.npy", values)
    refused(lambda: read_sequence(tmp_path / "a.npy"), "a.npy: value 2 of step 4 is not finite: fill")
    np.savetxt(tmp_path / "a.csv", values, delimiter=",")
    refused(lambda: read_sequence(tmp_path / "a.csv"), "a.csv: line 5: column 3 ")


def test_torn_and_foreign_sequences(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((50, 4)))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", whole[:-30], b"PK\x03\x04", b"text"):
        (tmp_path / "a.npz").write_bytes(content)
        refused(lambda: read_sequence(tmp_path / "a.npz"), "a.npz: incomplete or damaged")
    damaged = bytearray(whole)
    damaged[300] ^= 255
    (tmp_path / "a.npz").write_bytes(damaged)
    refused(lambda: read_sequence(tmp_path / "a.npz"), "a.npz: .*Bad CRC-32")
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).random((5000, 4)))
    damaged = bytearray((tmp_path / "a.npz").read_bytes())
    damaged[90_000:90_010] = bytes(10)
    (tmp_path / "a.npz").write_bytes(damaged)
    refused(lambda: read_sequence(tmp_path / "a.npz"), "a.npz: damaged")
    np.savez(tmp_path / "a.npz", x=np.zeros((5, 4)), y=np.zeros((5, 4)))
    refused(lambda: read_sequence(tmp_path / "a.npz"), r"a.npz: holds 2 arrays \(x.npy, y.npy\): keep one")
    for content in (b"", b"1,2\n3\n", b"1,x\n2,y\n", b"\xff\xfe\x00", b"a,b\n"):
        (tmp_path / "a.csv").write_bytes(content)
        refused(lambda: read_sequence(tmp_path / "a.csv"), "a.csv: ")
    for content in (b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, b"\x93NUMPY\x03\x00\xff\xff\xff\xff"):
        (tmp_path / "a.npy").write_bytes(content)
        refused(lambda: read_sequence(tmp_path / "a.npy"), "a.npy: not a NumPy array")
    refused(lambda: read_sequence(tmp_path / "absent.npy"), "absent.npy: no such file")


def test_a_file_above_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "LIMIT", 1000)
    for name in ("a.npy", "a.csv", "a.npz"):
        (tmp_path / name).write_bytes(bytes(2000))
        refused(lambda name=name: read_sequence(tmp_path / name), f"{name}: has 0 MiB, the limit is 0")
