"""A folder of pictures as they come: every file is read as RGB or named with the reason why not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from ask_lib.checks import check_range
from ask_lib.errors import DataNotFoundError

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST = 32
BAR_FROM = 50  # files
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class Picture:
    """One picture, in memory.

    Attributes:
        image: RGB, 8 bits, upright.
        name: Path below the folder, or a sample's name.
        label: Class, or None.
        notes: What was changed to make it RGB.
        credit: Author and licence, where known.
        alt: What it shows, for those who can't see it.
    """

    image: Image
    name: str
    label: str | None = None
    notes: tuple[str, ...] = ()
    credit: str = ""
    alt: str = ""


@dataclass(frozen=True)
class FileReport:
    """What became of one file: ``status`` "ok" with ``notes``, or "skipped" with ``reason``."""

    name: str
    status: str
    notes: tuple[str, ...] = ()
    reason: str = ""
    size: tuple[int, int] = (0, 0)  # (H, W)


@dataclass(frozen=True)
class FolderReport:
    """What became of every file that was looked at; ``left`` were not, because of the limit."""

    folder: Path
    files: tuple[FileReport, ...]
    left: int = 0

    @property
    def ok(self) -> tuple[FileReport, ...]:
        """Files that were read."""
        return tuple(f for f in self.files if f.status == "ok")

    @property
    def skipped(self) -> tuple[FileReport, ...]:
        """Files that were not, each with its reason."""
        return tuple(f for f in self.files if f.status == "skipped")

    def summary(self, most: int = 8) -> str:
        """A few lines: how many were read; by name, those that were skipped or changed, ``most`` of each kind."""
        left = f", {self.left} not looked at (limit)" if self.left else ""
        lines = [f"{self.folder}: {_count(self.ok, 'picture')} read, {_count(self.skipped, 'file')} skipped{left}."]
        lines += [f"  skipped {f.name}: {f.reason}" for f in self.skipped[:most]]
        if len(self.skipped) > most:
            lines.append(f"  skipped {len(self.skipped) - most} more: see report.skipped")
        changed: dict[str, list[str]] = {}
        for file in self.ok:
            if file.notes:
                changed.setdefault(", ".join(file.notes), []).append(file.name)
        for note, names in changed.items():
            more = f" and {len(names) - most} more" if len(names) > most else ""
            lines.append(f"  {note}: {', '.join(names[:most])}{more}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()


@dataclass(frozen=True)
class PictureFolder(Sequence[Picture]):
    """Pictures of a folder, read when they are asked for; only names are held in memory.

    Attributes:
        folder: Where they lie.
        names: Paths below it, in natural order.
        labels: Class of each: its first subfolder; None for a picture in the folder itself.
        report: What became of each file.
    """

    folder: Path
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    report: FolderReport = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, in natural order."""
        return tuple(sorted({label for label in self.labels if label is not None}, key=natural_key))

    @property
    def targets(self) -> list[int]:
        """Each picture's number in ``classes``; -1 without a label."""
        number = {label: i for i, label in enumerate(self.classes)}
        return [-1 if label is None else number[label] for label in self.labels]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> list[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | list[Picture]:
        """One picture, or a list for a slice.

        Raises:
            DataNotFoundError: If a file that was fine when the folder was scanned can't be read any more.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        name = self.names[index]
        try:
            image, notes = read_rgb(self.folder / name)
        except UnreadableError as error:
            raise DataNotFoundError(
                f"{name} has changed since the folder was scanned: {error}. Scan it again."
            ) from error
        return Picture(image, name, self.labels[index], notes)


class UnreadableError(Exception):
    """A file gives no picture; the message is the reason that the report shows."""


def read_images(
    folder: str | Path, limit: int | None = None, recursive: bool = True, smallest: int = SMALLEST
) -> PictureFolder:
    """The pictures of a folder (or one file), whatever state they are in.

    Every file that is looked at is decoded once, so that a broken one is known now; its pixels are read again when
    asked for. No file raises: see ``report``. Hidden files are passed over.

    Args:
        folder: With the pictures, or with a subfolder a class.
        limit: At most so many, as evenly over the classes as they go, the first of each. A file that is skipped is
            replaced by the next of its class. None: all.
        recursive: Look into subfolders.
        smallest: Least number of pixels on each side.

    Raises:
        DataNotFoundError: If the folder is missing, or holds no picture that can be read.
        RangeError: If ``limit`` is not positive.
    """
    if limit is not None:
        check_range("limit", limit, 1)
    root, paths = _find(Path(folder).expanduser(), recursive)
    groups: dict[str, list[str]] = {}
    for name in paths:
        groups.setdefault(_label(name) or "", []).append(name)
    reports = _scan(root, groups, limit if limit is not None else len(paths), smallest)
    report = FolderReport(root, tuple(sorted(reports, key=lambda f: natural_key(f.name))), len(paths) - len(reports))
    names = tuple(f.name for f in report.ok)
    if not names:
        raise DataNotFoundError(f"No picture could be read. {report.summary(5)}\nGive a folder with JPEG or PNG files.")
    return PictureFolder(root, names, tuple(map(_label, names)), report)


def read_rgb(path: str | Path) -> tuple[Image, tuple[str, ...]]:
    """One file as upright 8-bit RGB, and what was done to it.

    Raises:
        UnreadableError: If it gives no picture; the message says why.
    """
    from PIL import ImageOps

    with _any_failure_named(), _open(Path(path)) as image:
        notes = _frame_notes(image)
        turned = image.getexif().get(0x0112, 1) not in (0, 1)
        upright = ImageOps.exif_transpose(image) if turned else image
        rgb, note = to_rgb(upright)
    notes += ["EXIF rotated"] * turned + ([note] if note else [])
    return rgb, tuple(notes)


def to_rgb(image: Image) -> tuple[Image, str]:
    """A picture of any mode as 8-bit RGB, and a note of what was done; empty for RGB.

    16-bit values are divided by 257, so that 65535 becomes 255 (PIL's own conversion clips at 255). Transparent
    pictures are laid on white.
    """
    from PIL import Image as pil

    mode = image.mode
    if mode == "RGB":
        image.load()
        return image.copy(), ""
    if mode.startswith("I") or mode == "F":
        grey, note = _deep_to_bytes(np.asarray(image), mode)
        return pil.fromarray(grey).convert("RGB"), note
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or (mode == "P" and "transparency" in image.info):
        rgba = image.convert("RGBA")
        white = pil.new("RGBA", rgba.size, (255, 255, 255, 255))
        return pil.alpha_composite(white, rgba).convert("RGB"), f"{mode} composited on white"
    names = {"L": "grey", "P": "palette", "1": "black and white"}
    return image.convert("RGB"), f"{names.get(mode, mode)} -> RGB"


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts ``c2`` before ``c10``; the name itself settles ties (``c02`` and ``c2``)."""
    parts = re.split(r"(\d+)", name)
    key = [(0, int(p), "") if p.isdecimal() and p.isascii() else (1, 0, p.casefold()) for p in parts]
    return [*key, (2, 0, name)]


def _count(entries: Sequence[object], noun: str) -> str:
    return f"{len(entries)} {noun}" + ("" if len(entries) == 1 else "s")


def _find(folder: Path, recursive: bool) -> tuple[Path, list[str]]:
    if folder.is_file():
        return folder.parent, [folder.name]
    if not folder.is_dir():
        raise DataNotFoundError(f"No folder at {folder.absolute()}. Give a folder of pictures, or check the path.")
    found = (p.relative_to(folder) for p in (folder.rglob("*") if recursive else folder.glob("*")) if _is_file(p))
    names = sorted((p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts)), key=natural_key)
    if not names:
        below = "" if recursive else " (subfolders were not looked into)"
        raise DataNotFoundError(f"{folder.absolute()} holds no files{below}. Put JPEG or PNG files there.")
    return folder, names


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # it may not even be asked: the report will name it


def _label(name: str) -> str | None:
    return name.split("/")[0] if "/" in name else None


def _scan(root: Path, groups: dict[str, list[str]], limit: int, smallest: int) -> list[FileReport]:
    """Look at files class by class in turn, until enough are fine."""
    from tqdm.auto import tqdm

    reports: list[FileReport] = []
    wanted = min(limit, sum(map(len, groups.values())))
    fine = 0
    with tqdm(total=wanted, desc=f"scanning {root.name}", unit="file", disable=wanted <= BAR_FROM) as bar:
        queues = [iter(names) for names in groups.values()]
        while queues and fine < limit:
            for queue in list(queues):
                looked = _next_fine(root, queue, smallest)
                reports += looked
                if not looked or looked[-1].status != "ok":
                    queues.remove(queue)
                    continue
                fine += 1
                bar.update()
                if fine == limit:
                    break
    return reports


def _next_fine(root: Path, names: Iterator[str], smallest: int) -> list[FileReport]:
    """Reports up to and with the next file that is fine."""
    looked = []
    for name in names:
        looked.append(_look(root, name, smallest))
        if looked[-1].status == "ok":
            break
    return looked


def _look(root: Path, name: str, smallest: int) -> FileReport:
    try:
        size, notes = _decode(root / name, smallest)
    except UnreadableError as error:
        return FileReport(name, "skipped", reason=str(error))
    return FileReport(name, "ok", notes, size=size)


def _decode(path: Path, smallest: int) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Size and notes of a file, having decoded all of it (a JPEG at an eighth of its size, which is faster)."""
    with _any_failure_named(), _open(path) as image:
        width, height = image.size
        if min(width, height) < smallest:
            raise UnreadableError(f"tiny: {width} x {height}, need at least {smallest} on each side")
        if image.format == "JPEG" and image.mode == "RGB" and image.getexif().get(0x0112, 1) in (0, 1):
            image.draft("RGB", (width // 8, height // 8))
            image.load()
            return (height, width), ()
    rgb, notes = read_rgb(path)
    return (rgb.height, rgb.width), notes


def _open(path: Path) -> Image:
    """The opened file; its pixels are not read yet."""
    from PIL import Image as pil
    from PIL import UnidentifiedImageError

    if path.stat().st_size == 0:
        raise UnreadableError("broken: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pil.DecompressionBombWarning)
            return pil.open(path)
    except (pil.DecompressionBombError, pil.DecompressionBombWarning) as error:
        most = f"{pil.MAX_IMAGE_PIXELS:,}"
        raise UnreadableError(f"too large: more than {most} pixels") from error
    except UnidentifiedImageError as error:
        known = path.suffix.lower() in SUFFIXES
        raise UnreadableError("broken: not readable as an image" if known else "not an image") from error


@contextmanager
def _any_failure_named() -> Iterator[None]:
    """Around all that reads a file: for damaged ones PIL raises whatever its parsers run into (struct.error, ...)."""
    try:
        yield
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(f"broken: {str(error).strip() or type(error).__name__}") from error


def _frame_notes(image: Image) -> list[str]:
    return ["animated: first frame"] if getattr(image, "is_animated", False) else []


def _deep_to_bytes(values: np.ndarray, mode: str) -> tuple[np.ndarray, str]:
    """Grey values of more than 8 bits, as bytes."""
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    if mode.startswith("I;16") or (mode == "I" and low >= 0 and high <= 65535):
        return np.rint(wide / 257).astype(np.uint8), "16-bit scaled to 8 bits"
    if mode == "F" and low >= 0 and high <= 1:
        return np.rint(wide * 255).astype(np.uint8), "floats 0..1 scaled to 8 bits"
    span = (high - low) or 1.0
    kind = "floats" if mode == "F" else "32-bit"
    return np.rint((wide - low) * (255 / span)).astype(np.uint8), f"{kind} {low:g}..{high:g} stretched to 8 bits"
