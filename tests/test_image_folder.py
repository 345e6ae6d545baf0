from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ask_lib.data import image_folder
from ask_lib.data.image_folder import PictureFolder, UnreadableError, natural_key, read_images, read_rgb, to_rgb
from ask_lib.data.samples import sample_pictures
from ask_lib.errors import DataNotFoundError, RangeError
from tests.realdata import realdata


def noise(height: int = 40, width: int = 50, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def jpeg(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise()).save(path, **options)
    return path


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Every kind of file that a folder can hold."""
    ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    picture = Image.fromarray(noise())
    jpeg(tmp_path / "good.jpg")
    Image.fromarray(noise()[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(noise(channels=4)).save(tmp_path / "rgba.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    picture.convert("P").save(tmp_path / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(noise(7, 5)).save(tmp_path / "tiny.png")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".DS_Store").write_bytes(b"hidden")
    return tmp_path


def test_every_file_is_read_or_named(zoo: Path) -> None:
    folder = read_images(zoo)
    notes = {f.name: f.notes for f in folder.report.ok}
    assert notes == {
        "cmyk.jpg": ("CMYK -> RGB",),
        "deep.png": ("16-bit scaled to 8 bits",),
        "good.jpg": (),
        "grey.png": ("grey -> RGB",),
        "moving.gif": ("animated: first frame", "palette -> RGB"),
        "palette.png": ("palette -> RGB",),
        "rgba.png": ("RGBA composited on white",),
        "turned.jpg": ("EXIF rotated",),
    }
    reasons = {f.name: f.reason for f in folder.report.skipped}
    assert reasons.pop("truncated.jpg").startswith("broken: image file is truncated")
    assert reasons == {
        "empty.png": "broken: the file is empty",
        "notes.txt": "not an image",
        "text.jpg": "broken: not readable as an image",
        "tiny.png": "tiny: 5 x 7, need at least 32 on each side",
    }
    for report, picture in zip(folder.report.ok, folder, strict=True):
        assert picture.image.mode == "RGB" and picture.image.width >= 40
        assert picture.notes == report.notes and picture.name == report.name
    text = str(folder.report)
    assert all(name in text for name in [*notes.keys() - {"good.jpg"}, *reasons])
    assert text.splitlines()[0] == f"{zoo}: 8 pictures read, 5 files skipped."


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]] * 4, dtype=np.uint16)
    for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
        rgb, note = to_rgb(image)
        assert np.asarray(rgb)[0, :, 1].tolist() == [0, 1, 128, 255] and note == "16-bit scaled to 8 bits"
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"x.{suffix}")
        assert np.asarray(read_rgb(tmp_path / f"x.{suffix}")[0])[0, :, 0].tolist() == [0, 1, 128, 255]


def test_other_deep_pictures_are_stretched_and_say_so() -> None:
    rgb, note = to_rgb(Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32)))
    assert np.asarray(rgb)[0, :, 0].tolist() == [0, 128, 255] and note == "floats 0..1 scaled to 8 bits"
    rgb, note = to_rgb(Image.fromarray(np.array([[-10.0, 0.0, 10.0, np.nan]], dtype=np.float32)))
    assert np.asarray(rgb)[0, :, 0].tolist() == [0, 128, 255, 128] and note == "floats -10..10 stretched to 8 bits"
    rgb, note = to_rgb(Image.fromarray(np.array([[0, 100_000]], dtype=np.int32)))
    assert np.asarray(rgb)[0, :, 0].tolist() == [0, 255] and note == "32-bit 0..100000 stretched to 8 bits"
    assert np.asarray(to_rgb(Image.fromarray(np.full((2, 2), 3.0, dtype=np.float32)))[0]).max() == 0


def test_transparency_is_laid_on_white() -> None:
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    rgb, note = to_rgb(Image.fromarray(pixels))
    assert np.asarray(rgb)[0].tolist() == [[200, 0, 0], [255, 255, 255], [204, 204, 204]]
    assert note == "RGBA composited on white"
    palette = Image.new("P", (1, 1), 0)
    palette.info["transparency"] = 0
    assert to_rgb(palette)[0].getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(Image.new("LA", (1, 1), (0, 0)))[0].getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "YCbCr", "HSV", "LAB"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    rgb, note = to_rgb(Image.new(mode, (4, 3)))
    assert rgb.mode == "RGB" and rgb.size == (4, 3) and note.endswith("-> RGB")


def png(bits: int, colour: int, row: bytes, key: bytes) -> bytes:
    """A PNG file of 64 equal rows with a transparent colour, in bits that PIL itself does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    samples = 8 * len(row) // bits // (3 if colour == 2 else 1)
    head = struct.pack(">IIBBBBB", samples, 64, bits, colour, 0, 0, 0)
    body = zlib.compress((b"\0" + row) * 64)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*each) for each in ((b"IHDR", head), (b"tRNS", key), (b"IDAT", body), (b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("file", "left", "right", "note"),
    [  # half of each picture has the transparent colour
        (png(1, 0, b"\xff" * 8 + b"\0" * 8, b"\0\1"), 255, 0, "black and white -> RGB, "),
        (png(1, 0, b"\0" * 8 + b"\xff" * 8, b"\0\0"), 255, 255, "black and white -> RGB, "),
        (png(2, 0, b"\x55" * 16 + b"\xaa" * 16, b"\0\1"), 255, 170, "grey -> RGB, "),
        (png(4, 0, b"\x33" * 32 + b"\x44" * 32, b"\0\3"), 255, 68, "grey -> RGB, "),
        (png(8, 0, b"\x07" * 64 + b"\x08" * 64, b"\0\7"), 255, 8, "grey -> RGB, "),
        (png(16, 0, b"\x80\x80" * 64 + b"\x80\x81" * 64, b"\x80\x80"), 255, 128, "16-bit scaled to 8 bits, "),
        (png(8, 2, b"\xff\0\xff" * 64 + b"\xff\0\0" * 64, b"\0\xff\0\0\0\xff"), 255, (255, 0, 0), ""),
        (png(16, 2, b"\x80\0" * 192 + b"\x20\0" * 192, b"\x80\0" * 3), 255, 32, ""),
    ],
    ids=["1 white", "1 black", "2 grey", "4 grey", "8 grey", "16 grey", "8 RGB", "16 RGB"],
)
def test_a_transparent_colour_is_white(file: bytes, left: Any, right: Any, note: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(file)
    rgb, notes = read_rgb(tmp_path / "x.png")
    pixels = np.asarray(rgb)
    half = pixels.shape[1] // 2
    assert (pixels[:, :half] == left).all() and (pixels[:, half:] == right).all()
    assert notes == (f"{note}one transparent colour made white",)


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (255, 0, 255)), ("L", 7), ("1", 0), ("1", 255), ("I;16", 300)])
def test_a_transparent_colour_of_pils_own_files(mode: str, colour: Any, tmp_path: Path) -> None:
    Image.new(mode, (64, 64), colour).save(tmp_path / "x.png", transparency=colour)
    rgb, (note,) = read_rgb(tmp_path / "x.png")
    assert np.asarray(rgb).min() == 255 and note.endswith("one transparent colour made white")


def test_notes_say_only_what_happened(tmp_path: Path) -> None:
    def save(name: str, *more: Image.Image, mode: str = "RGB", **options: Any) -> None:
        extra = {"save_all": True, "append_images": [each.copy() for each in more]} if more else {}
        Image.fromarray(noise()).convert(mode).save(tmp_path / name, **extra, **options)

    wanted = {}
    other = Image.fromarray(noise()[::-1])
    for orientation, note in {1: "", 6: "EXIF rotated", 4: "EXIF mirrored", 9: "", 0: ""}.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("jpg", "tif"):
            save(f"{orientation}.{kind}", exif=exif)
            wanted[f"{orientation}.{kind}"] = note
    save("phone.jpg", other, format="MPO")
    save("pages.tif", other, other)
    save("moving.png", other)
    save("moving.webp", other)
    save("still.gif")
    save("opaque.png", mode="RGBA")
    save("unused.png", transparency=(1, 2, 3))
    folder = read_images(tmp_path)
    assert fate(folder) == wanted | {
        "phone.jpg": "the first of 2 pictures",
        "pages.tif": "the first of 3 pictures",
        "moving.png": "animated: first frame",
        "moving.webp": "animated: first frame",
        "still.gif": "palette -> RGB",
        "opaque.png": "RGBA -> RGB",
        "unused.png": "",
    }
    sizes = {each.name: each.image.size for each in folder}
    assert sizes["6.jpg"] == sizes["6.tif"] == (40, 50) and sizes["9.tif"] == (50, 40)


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:, :30] = 255  # white left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    rgb, notes = read_rgb(tmp_path / "a.png")
    assert rgb.size == (40, 60) and notes == ("EXIF rotated",)
    assert np.asarray(rgb)[:28].min() == 255 and np.asarray(rgb)[32:].max() == 0


def test_classes_order_and_laziness(tmp_path: Path) -> None:
    for name in ("c10/b2.jpg", "c10/b10.jpg", "c2/deep/a.jpg", "c2/x.jpg", "root.jpg"):
        jpeg(tmp_path / name)
    folder = read_images(tmp_path)
    assert folder.names == ("c2/deep/a.jpg", "c2/x.jpg", "c10/b2.jpg", "c10/b10.jpg", "root.jpg")
    assert folder.labels == ("c2", "c2", "c10", "c10", None)
    assert folder.classes == ("c2", "c10") and folder.targets == [0, 0, 1, 1, -1]
    assert [p.name for p in folder] == list(folder.names) and folder[-1].label is None
    assert read_images(tmp_path / "root.jpg").names == ("root.jpg",)
    (tmp_path / "root.jpg").unlink()
    with pytest.raises(DataNotFoundError, match="has changed since"):
        folder[4]


def test_a_limit_is_even_over_the_classes_and_passes_over_broken_files(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "a/3", "b/1", "b/2", "c/1"):
        jpeg(tmp_path / f"{name}.jpg")
    (tmp_path / "a" / "1.jpg").write_bytes(b"broken")
    folder = read_images(tmp_path, limit=4)
    assert folder.names == ("a/2.jpg", "a/3.jpg", "b/1.jpg", "c/1.jpg")
    assert folder.report.left == 1 and "1 not looked at (limit)" in str(folder.report)
    assert read_images(tmp_path, limit=2).names == ("a/2.jpg", "b/1.jpg")
    assert len(read_images(tmp_path, limit=100)) == 5
    with pytest.raises(RangeError):
        read_images(tmp_path, limit=0)


def test_missing_empty_and_hopeless_folders(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"No folder at .*check the path"):
        read_images(tmp_path / "absent")
    with pytest.raises(DataNotFoundError, match="holds no files"):
        read_images(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataNotFoundError, match=r"No picture could be read(.|\n)*a\.txt: not an image"):
        read_images(tmp_path)


TURNED = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
FRAMES: dict[str, dict[str, Any]] = {
    "gif": {"save_all": True, "append_images": [Image.new("P", (32, 32), 3)]},
    "png": {"exif": TURNED},
    "tiff": {"save_all": True, "append_images": [Image.new("RGB", (32, 32))], "compression": "tiff_lzw"},
    "webp": {"save_all": True, "append_images": [Image.new("RGB", (32, 32), "red")], "exif": TURNED},
    "jpeg": {"exif": TURNED},
}


@pytest.mark.parametrize("kind", sorted(FRAMES))
@pytest.mark.filterwarnings("ignore")  # PIL's, of damaged EXIF
def test_no_damaged_file_raises(kind: str, tmp_path: Path) -> None:
    source = tmp_path / f"0.{kind}"
    picture = Image.fromarray(np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)).convert("RGB")
    picture.save(source, **FRAMES[kind])
    whole = source.read_bytes()
    step = max(1, len(whole) // 150)
    for i in range(1, len(whole), step):
        (tmp_path / f"{i}.cut.{kind}").write_bytes(whole[:i])
        (tmp_path / f"{i}.flip.{kind}").write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
    folder = read_images(tmp_path)
    assert len(folder.report.files) == 1 + 2 * len(range(1, len(whole), step))
    assert all(f.reason for f in folder.report.skipped) and folder.names[0] == source.name
    for read in folder:  # what the scan has passed can be read
        assert read.image.mode == "RGB"


def test_a_second_frame_cut_in_its_header_is_named(tmp_path: Path) -> None:
    """Counting the frames reads it: PIL raises struct.error or IndexError there."""
    white = Image.new("L", (32, 32), 255)
    Image.new("L", (32, 32), 0).save(tmp_path / "0.gif", save_all=True, append_images=[white])
    whole = (tmp_path / "0.gif").read_bytes()
    second = whole.rindex(b",\0\0\0\0")
    for cut in range(second + 1, second + 20):
        (tmp_path / f"{cut}.gif").write_bytes(whole[:cut])
    report = read_images(tmp_path).report
    assert len(report.skipped) == 19 and all(f.reason.startswith("broken: ") for f in report.skipped)


def fate(folder: PictureFolder) -> dict[str, str]:
    """Name -> notes or reason."""
    return {f.name: f.reason or ", ".join(f.notes) for f in folder.report.files}


def test_a_file_that_may_not_be_asked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg(tmp_path / "ok.jpg")
    jpeg(tmp_path / "secret.jpg")
    stat = Path.stat

    def refuse(path: Path, **options: bool) -> object:
        if path.name == "secret.jpg":
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    assert fate(read_images(tmp_path)) == {"ok.jpg": "", "secret.jpg": "cannot be read: Permission denied"}


def test_links_are_followed_once_and_dead_ones_named(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "pictures"
    jpeg(elsewhere / "a.jpg")
    jpeg(folder / "plain" / "b.jpg")
    for name, target in {
        "class": elsewhere,
        "again": elsewhere,
        "round": folder,
        "self": Path("self"),
        "dead": tmp_path / "nothing",
        "plain/up": Path(".."),
        "one.jpg": elsewhere / "a.jpg",
        "dead.jpg": tmp_path / "nothing.jpg",
    }.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe")
    found = read_images(folder)
    assert fate(found) == {
        "again/a.jpg": "",
        "class": "a link to a folder that is read already",
        "dead": "dead link: No such file or directory",
        "dead.jpg": "dead link: No such file or directory",
        "one.jpg": "",
        "pipe": "no file but a pipe, socket or device",
        "plain/b.jpg": "",
        "plain/up": "a link to a folder that is read already",
        "round": "a link to a folder that is read already",
        "self": "dead link: Too many levels of symbolic links",
    }
    assert found.classes == ("again", "plain")
    assert read_images(folder, limit=1).report.left == 2  # what is no file does not count

    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "class").symlink_to(elsewhere)
    assert read_images(lonely).classes == ("class",)
    (lonely / "class").unlink()
    (lonely / "dead").symlink_to("nothing")
    with pytest.raises(DataNotFoundError, match="skipped dead: dead link"):
        read_images(lonely)


ODD = [b"a\nb", b"c\x1b[31md", b"e\xfff", b"g\xe2\x80\xaeh", b"i $j_$ {k} <l>", b"gr\xc3\xbcn"]
SHOWN = [r"a\nb", r"c\x1b[31md", r"e\udcfff", r"g\u202eh", "i $j_$ {k} <l>", "grün"]


def test_odd_names_are_read_and_shown_safely(tmp_path: Path) -> None:
    for name in ODD:
        path = os.fsencode(tmp_path) + b"/" + name
        jpeg(Path(os.fsdecode(path)) / "x.png")
        jpeg(Path(os.fsdecode(path + b".png")))
    (tmp_path / os.fsdecode(b"dead\xff\n")).symlink_to("nothing")
    folder = read_images(tmp_path)
    assert folder.classes == tuple(sorted(SHOWN, key=natural_key))
    assert sorted(folder.names) == sorted([f"{name}.png" for name in SHOWN] + [f"{name}/x.png" for name in SHOWN])
    assert [picture.name for picture in folder] == list(folder.names)  # each can be opened
    text = json.dumps([fate(folder), folder.names, str(folder.report)], ensure_ascii=False)
    assert text.encode() and r"dead\\udcff\\n" in text


def test_a_c_locale_reads_them_too(tmp_path: Path) -> None:
    jpeg(Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xc3\xbcn\xff.png")))
    code = f"from ask_lib.data.image_folder import read_images; f = read_images({str(tmp_path)!r}); print(f[0].name)"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    out = subprocess.run([sys.executable, "-c", code], env=env | {"LC_ALL": "C"}, capture_output=True, check=True)
    assert out.stdout.decode() == "grün\\udcff.png\n"


def test_a_folder_that_cannot_be_asked_is_one_error(tmp_path: Path) -> None:
    for odd in ("x" * 5000, "null\0byte", "~nobody-of-that-name/x", str(jpeg(tmp_path / "a.jpg") / "below")):
        with pytest.raises(DataNotFoundError, match="No folder at"):
            read_images(odd)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.eps"])
def test_a_picture_starts_no_program(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript makes PIL call Ghostscript, whatever the file's name is."""
    from PIL import EpsImagePlugin

    trace, tools, folder = tmp_path / "trace", tmp_path / "bin", tmp_path / "pictures"
    for each in (tools, folder):
        each.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\necho called >> {trace}\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
    (folder / name).write_bytes(script)
    jpeg(folder / "good.jpg")
    wanted = "broken: not readable as an image"
    if name.endswith(".eps"):
        wanted = "a format that is not read (EPS): save it as PNG"
    assert fate(read_images(folder)) == {"good.jpg": "", name: wanted}
    with pytest.raises(UnreadableError, match=re.escape(wanted)):
        read_rgb(folder / name)
    assert not trace.exists()
    with pytest.raises(OSError), Image.open(folder / name) as bare:  # PIL left to itself does start it
        bare.load()
    assert trace.exists()


def test_a_decompression_bomb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg(tmp_path / "ok.jpg")
    Image.new("RGB", (200, 200)).save(tmp_path / "twice.png")
    Image.new("RGB", (400, 400)).save(tmp_path / "more.png")
    (tmp_path / "none.ppm").write_bytes(b"P6\n0 0\n255\n")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    skipped = {f.name: f.reason for f in read_images(tmp_path).report.skipped}
    none = skipped.pop("none.ppm")
    assert skipped == dict.fromkeys(["more.png", "twice.png"], "too large: more than 30,000 pixels")
    assert none.startswith("broken: ")
    for name in ("more.png", "none.ppm", "absent.png", "."):
        with pytest.raises(UnreadableError, match="expected a picture, "):
            read_rgb(tmp_path / name)


def test_a_long_summary_is_cut_and_a_long_scan_shows_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(60):
        Image.fromarray(noise(32, 32)[..., 0]).save(tmp_path / f"{i}.png")
    summary = str(read_images(tmp_path).report)
    assert summary.splitlines()[1] == f"  grey -> RGB: {', '.join(f'{i}.png' for i in range(8))} and 52 more"
    assert "scanning" in capsys.readouterr().err


@given(st.lists(st.text(alphabet="ab019²٣/.", max_size=8), max_size=8))
def test_natural_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_samples_are_two_photographs_with_credit_and_alt_text() -> None:
    pagoda, flower = sample_pictures()
    assert (pagoda.name, flower.name) == ("pagoda", "flower")
    for picture in (pagoda, flower):
        assert picture.image.size == (640, 427) and picture.image.mode == "RGB"
        assert "CC BY 2.0" in picture.credit and len(picture.alt) > 40


@pytest.mark.realdata
def test_flowers17() -> None:
    folder = read_images(realdata("flowers17"), limit=34)
    assert folder.classes == tuple(f"c{i}" for i in range(1, 18))
    assert [folder.labels.count(c) for c in folder.classes] == [2] * 17
    assert not folder.report.skipped and folder.report.left == 17 * 80 - 34
    assert min(folder[0].image.size) == 256


@pytest.mark.realdata
def test_sixteen_bit_depth_of_a_real_frame_is_not_clipped() -> None:
    depth = realdata("hha_reference", "depth2hha_python")
    path = next(depth.rglob("0.png"))
    raw = np.asarray(Image.open(path)).astype(np.float64)
    rgb, notes = read_rgb(path)
    assert raw.max() > 255 and notes == ("16-bit scaled to 8 bits",)
    assert np.abs(np.asarray(rgb)[..., 0] - raw / 257).max() <= 0.5


def test_the_module_loads_no_pil() -> None:
    assert "Image" not in vars(image_folder)
