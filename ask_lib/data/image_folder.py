"""A folder of pictures as they come: every file is read as RGB or named with the reason why not."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ask_lib.checks import check_range
from ask_lib.errors import AskError, DataNotFoundError
from ask_lib.files import shown

if TYPE_CHECKING:
    from PIL.Image import Image

# What is decoded by Pillow itself. For others it starts a program (EPS: Ghostscript) or calls what a plugin installed.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
SMALLEST = 32  # pixels on each side
BAR_FROM = 50  # files
SHOWN = 8  # names of a kind in a report's text
NAMES = {"L": "grey", "P": "palette", "1": "black and white"}
TURNS = {2: "mirrored", 3: "rotated", 4: "mirrored", 5: "rotated and mirrored", 6: "rotated"}
TURNS |= {7: "rotated and mirrored", 8: "rotated"}
# PNG names the one transparent colour in the file's own bits; here from Pillow's name of those bits to its pixels.
KEYS = {"1": lambda k: 255 * (k & 1), "L;2": lambda k: 85 * k, "L;4": lambda k: 17 * k, "RGB;16B": lambda k: k >> 8}


@dataclass(frozen=True)
class Picture:
    """One picture, in memory.

    Attributes:
        image: RGB, 8 bits, upright.
        name: Path below the folder, as it can be shown (`ask_lib.files.shown`), or a sample's name.
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
    """What became of one file: ``notes`` of how it was read, or the ``reason`` why it was skipped."""

    name: str
    notes: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class FolderReport:
    """What became of every file that was looked at; ``left`` were not, because of the limit."""

    folder: Path
    files: tuple[FileReport, ...]
    left: int = 0

    @property
    def ok(self) -> tuple[FileReport, ...]:
        """Files that were read."""
        return tuple(f for f in self.files if not f.reason)

    @property
    def skipped(self) -> tuple[FileReport, ...]:
        """Files that were not, each with its reason."""
        return tuple(f for f in self.files if f.reason)

    def __str__(self) -> str:
        """A few lines: how many were read; by name, some of those that were skipped or changed."""
        left = f", {self.left} not looked at (limit)" if self.left else ""
        counts = f"{_count(self.ok, 'picture')} read, {_count(self.skipped, 'file')} skipped{left}"
        lines = [f"{shown(self.folder)}: {counts}."]
        lines += [f"  skipped {f.name}: {f.reason}" for f in self.skipped[:SHOWN]]
        if len(self.skipped) > SHOWN:
            lines.append(f"  skipped {len(self.skipped) - SHOWN} more: see report.skipped")
        changed: dict[str, list[str]] = {}
        for file in self.ok:
            if file.notes:
                changed.setdefault(", ".join(file.notes), []).append(file.name)
        for note, names in changed.items():
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"  {note}: {', '.join(names[:SHOWN])}{more}")
        return "\n".join(lines)


@dataclass(frozen=True)
class PictureFolder:
    """Pictures of a folder, read when they are asked for; only names are held in memory.

    Attributes:
        folder: Where they lie.
        paths: Of each below the folder, in natural order, as the disk has it.
        report: What became of each file.
    """

    folder: Path
    paths: tuple[str, ...]
    report: FolderReport = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The paths as they can be shown."""
        return tuple(map(shown, self.paths))

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The class of each, which is its first subfolder, as it can be shown; None in the folder itself."""
        return tuple(map(_label, self.names))

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
        return len(self.paths)

    def __iter__(self) -> Iterator[Picture]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> Picture:
        """One picture; a ``DataNotFoundError`` if its file has changed since, and can't be read any more."""
        name = shown(self.paths[index])
        try:
            image, notes = read_rgb(self.folder / self.paths[index])
        except UnreadableError as error:
            raise DataNotFoundError(
                f"{name} has changed since the folder was scanned: {error.reason}. Scan it again."
            ) from error
        return Picture(image, name, _label(name), notes)


class UnreadableError(AskError, ValueError):
    """A file gives no picture; ``reason`` is what the report shows."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # its arguments, so that it can come from another process
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{shown(self.path)}: expected a picture, {self.reason}."


def read_images(folder: str | Path, limit: int | None = None) -> PictureFolder:
    """The pictures of a folder and its subfolders (or one file), whatever state they are in.

    Every file that is looked at is decoded once, so that a broken one is known now; its pixels are read again when
    asked for. No file raises: see ``report``. Links are followed, but no folder is read twice; hidden files are passed
    over.

    Args:
        folder: With the pictures, or with a subfolder a class.
        limit: At most so many, as evenly over the classes as they go, the first of each. A file that is skipped is
            replaced by the next of its class. None: all.

    Raises:
        DataNotFoundError: If the folder is missing, or holds no picture that can be read.
        RangeError: If ``limit`` is not positive.
    """
    if limit is not None:
        check_range("limit", limit, 1)
    root, found = _find(folder)
    groups: dict[str | None, list[str]] = {}
    for path in sorted((path for path, reason in found.items() if not reason), key=natural_key):
        groups.setdefault(_label(path), []).append(path)
    looked = _scan(root, groups, len(found) if limit is None else limit)
    looked |= {path: FileReport(shown(path), reason=reason) for path, reason in found.items() if reason}
    paths = sorted(looked, key=natural_key)
    report = FolderReport(root, tuple(looked[path] for path in paths), len(found) - len(looked))
    if not report.ok:
        raise DataNotFoundError(f"No picture could be read. {report}\nGive a folder with JPEG or PNG files.")
    return PictureFolder(root, tuple(path for path in paths if not looked[path].reason), report)


def read_rgb(path: str | Path) -> tuple[Image, tuple[str, ...]]:
    """One file as upright 8-bit RGB, and what was done to it.

    Raises:
        UnreadableError: If it gives no picture; the message says why.
    """
    with _opened(Path(path)) as image:
        return _upright(image)


def to_rgb(image: Image) -> tuple[Image, str]:
    """A picture of any mode as 8-bit RGB, and a note of what was done; empty for RGB.

    16-bit values are divided by 257, so that 65535 becomes 255 (PIL's own conversion clips at 255). Transparent
    pictures are laid on white, and so is the one transparent colour that a PNG may name.
    """
    from PIL import Image as pil

    mode, key = image.mode, image.info.get("transparency")
    if mode in ("RGBA", "LA", "PA", "RGBa") or (mode == "P" and key is not None):
        rgba = image.convert("RGBA")
        laid = pil.alpha_composite(pil.new("RGBA", image.size, "white"), rgba).convert("RGB")
        return laid, f"{mode} composited on white" if np.asarray(rgba)[..., 3].min() < 255 else f"{mode} -> RGB"
    pixels = np.asarray(image)
    if deep := mode.startswith("I") or mode == "F":
        grey, note = _deep_to_bytes(pixels, mode)
        rgb = pil.fromarray(grey).convert("RGB")
    else:
        rgb, note = image.convert("RGB"), f"{NAMES.get(mode, mode)} -> RGB" if mode != "RGB" else ""
    rgb.info.pop("transparency", None)
    if key is None:
        return rgb, note
    clear = pixels == key if deep else (np.asarray(rgb) == key).all(axis=-1)
    if not clear.any():
        return rgb, note
    rgb.paste((255, 255, 255), mask=pil.fromarray(clear))
    return rgb, f"{note}, one transparent colour made white".removeprefix(", ")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts ``c2`` before ``c10``; the name itself settles ties (``c02`` and ``c2``)."""
    parts = re.split(r"(\d+)", name)
    key = [(0, int(p), "") if p.isdecimal() and p.isascii() else (1, 0, p.casefold()) for p in parts]
    return [*key, (2, 0, name)]


def _count(entries: Sequence[object], noun: str) -> str:
    return f"{len(entries)} {noun}" + ("" if len(entries) == 1 else "s")


def _label(name: str) -> str | None:
    return name.split("/")[0] if "/" in name else None


def _find(folder: str | Path) -> tuple[Path, dict[str, str]]:
    """The folder, and what lies below it: paths, each with the reason why it is no file to look at, or none."""
    try:
        root = Path(folder).expanduser()
        if stat.S_ISREG(root.stat().st_mode):
            return root.parent, {root.name: ""}
        os.listdir(root)  # noqa: PTH208 - it says at once what is wrong with a folder
    except (OSError, ValueError, RuntimeError) as error:  # a name with a null byte, a home that nobody has
        why = getattr(error, "strerror", None) or error
        raise DataNotFoundError(
            f"No folder at {shown(folder)} ({why}). Give a folder of pictures, or check the path."
        ) from error
    found = _walk(root)
    if not found:
        raise DataNotFoundError(f"{shown(root.absolute())} holds no files. Put JPEG or PNG files there.")
    return root, found


def _walk(root: Path) -> dict[str, str]:
    """Every folder once, however many links lead to it: first as it lies there, then by links."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    folders, links = [""], list[str]()
    while folders or links:
        below = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(root / below)
        if real in seen:
            found[below] = "a link to a folder that is read already"
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
        except OSError as error:
            found[below] = f"cannot be read: {error.strerror}"
            continue
        for entry in entries:
            path = f"{below}/{entry.name}".removeprefix("/")
            if entry.name.startswith("."):
                continue
            try:
                mode = entry.stat().st_mode
            except OSError as error:
                found[path] = f"{'dead link' if entry.is_symlink() else 'cannot be read'}: {error.strerror}"
                continue
            if stat.S_ISDIR(mode):
                (links if entry.is_symlink() else folders).append(path)
            else:
                found[path] = "" if stat.S_ISREG(mode) else "no file but a pipe, socket or device"
    return found


def _scan(root: Path, groups: dict[str | None, list[str]], limit: int) -> dict[str, FileReport]:
    """Look at files class by class in turn, until enough are fine."""
    from tqdm.auto import tqdm

    looked: dict[str, FileReport] = {}
    wanted = min(limit, sum(map(len, groups.values())))
    name = shown(root.name)
    with tqdm(total=wanted, desc=f"scanning {name}", unit="file", disable=wanted <= BAR_FROM) as bar:
        queues = [iter(paths) for paths in groups.values()]
        fine = 0
        while queues and fine < limit:
            for queue in list(queues):
                for path in queue:
                    looked[path] = _look(root, path)
                    if not looked[path].reason:
                        fine += 1
                        bar.update()
                        break
                else:
                    queues.remove(queue)
                if fine == limit:
                    break
    return looked


def _look(root: Path, path: str) -> FileReport:
    """Decodes all of a file, a JPEG at an eighth of its size, which is faster."""
    try:
        with _opened(root / path) as image:
            width, height = image.size
            if min(width, height) < SMALLEST:
                reason = f"tiny: {width} x {height}, need at least {SMALLEST} on each side"
                return FileReport(shown(path), reason=reason)
            image.draft(None, (width // 8, height // 8))
            return FileReport(shown(path), _upright(image)[1])
    except UnreadableError as error:
        return FileReport(shown(path), reason=error.reason)


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """A file opened by one of Pillow's own decoders; its pixels are read in the body.

    For damaged files PIL raises whatever its parsers run into (struct.error, ...): all of it is named.
    """
    from PIL import Image as pil
    from PIL import UnidentifiedImageError

    pil.init()
    try:
        if path.stat().st_size == 0:
            raise UnreadableError(path, "broken: the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pil.DecompressionBombWarning)
            image = pil.open(path, formats=[name for name in FORMATS if name in pil.OPEN])
        with image:
            yield image
    except UnreadableError:
        raise
    except (pil.DecompressionBombError, pil.DecompressionBombWarning) as error:
        raise UnreadableError(path, f"too large: more than {pil.MAX_IMAGE_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        kind = pil.EXTENSION.get(path.suffix.lower(), "")
        other = f"a format that is not read ({kind}): save it as PNG" if kind else "not an image"
        raise UnreadableError(path, "broken: not readable as an image" if kind in FORMATS else other) from error
    except Exception as error:
        system = isinstance(error, OSError) and error.strerror
        why = f"cannot be read: {system}" if system else f"broken: {str(error).strip() or type(error).__name__}"
        raise UnreadableError(path, why) from error


def _upright(image: Image) -> tuple[Image, tuple[str, ...]]:
    """An opened picture, turned as its EXIF data say, as RGB; and what was done."""
    from PIL import ImageOps

    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        moves = image.format in ("AVIF", "GIF", "PNG", "WEBP")  # a phone's JPEG or a TIFF holds several pictures
        notes.append("animated: first frame" if moves else f"the first of {frames} pictures")
    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if image.format == "PNG" and key is not None and tiles and (pixel := KEYS.get(tiles[0][3])):
        image.info["transparency"] = tuple(map(pixel, key)) if isinstance(key, tuple) else pixel(key)
    turn = TURNS.get(image.getexif().get(0x0112, 1))
    rgb, note = to_rgb(ImageOps.exif_transpose(image) if turn else image)
    return rgb, (*notes, *([f"EXIF {turn}"] if turn else []), *([note] if note else []))


def _deep_to_bytes(values: np.ndarray, mode: str) -> tuple[np.ndarray, str]:
    """Grey values of more than 8 bits, as bytes."""
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    if mode.startswith("I;16") or (mode == "I" and low >= 0 and high <= 65535):
        low, high, note = 0.0, 65535.0, "16-bit scaled to 8 bits"
    elif mode == "F" and low >= 0 and high <= 1:
        low, high, note = 0.0, 1.0, "floats 0..1 scaled to 8 bits"
    else:
        note = f"{'floats' if mode == 'F' else '32-bit'} {low:g}..{high:g} stretched to 8 bits"
    return np.rint((wide - low) * (255 / ((high - low) or 1.0))).astype(np.uint8), note
