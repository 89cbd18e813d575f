"""The loader for pictures: upright, bounded in size, in a form that models take."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, cast

from pipeline.document import Part
from pipeline.errors import LoadError
from pipeline.loaders import wire

if TYPE_CHECKING:
    from PIL.Image import Image

#: The longest side that is sent. Gemini scales larger pictures down to 3072 x 3072 itself (its input
#: file requirements), so more only costs transport.
MAX_SIDE = 3072
#: A picture of more points is refused: Pillow's own limit (a quarter of a GiB at three bytes each).
MAX_PIXELS = 89_478_485
#: Decoders that are used, by Pillow's names; none of them runs another program (EPS would).
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "ICO", "AVIF", "JPEG2000", "MPO", "HEIF")
#: Formats whose bytes can go to a model as they are (Gemini takes these), with their media types.
_SENT_AS_IS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
#: EXIF orientation -> the name of Pillow's turn that undoes it (EXIF 2.32, 4.6.4, tag 274).
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ORIENTATION = 274
#: JPEG quality of what has to be written anew: letters stay clean, at a tenth of the size of PNG.
_QUALITY = 90


def prepare() -> None:
    """Import what loading needs, before the limits are set; HEIC where pillow-heif is installed."""
    from PIL import Image

    Image.init()
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return


def load(content: bytes, media_type: str) -> wire.Reading:
    """Read a picture; a TIFF of several pages becomes several pages and parts.

    A page has no text; its width and height are those of the upright picture, a point each.

    Raises:
        LoadError: `damaged` (broken or cut off), `too_large` (more than `MAX_PIXELS`),
            `unsupported` (HEIC without its decoder).

    """
    _check_decoder(media_type)
    with _decoding(), _opened(content) as image:
        frames = _frames(image)
        count = frames if image.format == "TIFF" else 1
        reading = wire.Reading(sheets=[], parts=[], page_count=count)
        if count > wire.MAX_PAGES:
            raise LoadError(
                "too_large",
                f"{count:,} pages are more than the {wire.MAX_PAGES:,} that are read: split it",
            )
        for number in range(1, count + 1):
            image.seek(number - 1)
            (width, height), part = _page(
                image, content, number, alone=frames == 1 or image.format == "MPO"
            )
            reading.sheets.append(wire.Sheet("", width=float(width), height=float(height)))
            reading.parts.append(part)
            if sum(len(part.data) for part in reading.parts) > wire.MAX_BYTES:
                raise LoadError("too_large", "its pages are too large together: split it")
        if frames > count:
            reading.warnings.append(f"only the first of its {frames} pictures is read")
    return reading


def picture(content: bytes, page: int, dpi: int, side: int) -> "Image":
    """The upright picture, at most `side` points long; `dpi` says nothing here.

    Raises:
        LoadError: as `load`; `damaged` where there is no such page.

    """
    with _decoding(), _opened(content) as image:
        if not 1 <= page <= _frames(image):
            raise LoadError("damaged", f"there is no page {page}")
        image.seek(page - 1)
        small = _bounded(image, side)
        return _plain(_upright(small, _orientation(image)))


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into LoadErrors."""
    from PIL import Image, UnidentifiedImageError

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (LoadError, MemoryError):
        raise
    except bombs as error:
        raise LoadError(
            "too_large",
            f"the picture has more than the {MAX_PIXELS:,} points that are read: make it smaller",
        ) from error
    except UnidentifiedImageError as error:
        raise LoadError(
            "damaged", "the picture is broken: it is not of the kind that it begins like"
        ) from error
    except Exception as error:
        raise LoadError(
            "damaged",
            f"the picture is broken or cut off: {str(error)[:100] or type(error).__name__}",
        ) from error


def _check_decoder(media_type: str) -> None:
    from PIL import Image

    if media_type == "image/heic" and "HEIF" not in Image.OPEN:
        raise LoadError(
            "unsupported",
            "HEIC pictures need an extra: pip install 'fieldsift[heif]', or save it as JPEG",
        )


def _opened(content: bytes) -> "Image":
    from PIL import Image

    image = Image.open(
        io.BytesIO(content), formats=[name for name in _FORMATS if name in Image.OPEN]
    )
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


def _frames(image: "Image") -> int:
    return int(getattr(image, "n_frames", 1))


def _page(
    image: "Image", content: bytes, number: int, *, alone: bool
) -> tuple[tuple[int, int], Part]:
    """The size of the picture as it is seen, and the part that is sent."""
    size = image.size
    small = _bounded(image)
    turn = _orientation(image)
    if turn >= 5:
        size = size[1], size[0]
    media_type = _SENT_AS_IS.get(image.format or "")
    if media_type and alone and turn == 1 and small.size == size and _is_plain(small):
        return size, Part("image", media_type, data=content, pages=(number, number))
    plain = _plain(_upright(small, turn))
    if plain.mode == "1":
        return size, Part("image", "image/png", data=_png(plain), pages=(number, number))
    written = io.BytesIO()
    plain.save(written, "JPEG", quality=_QUALITY)
    return size, Part("image", "image/jpeg", data=written.getvalue(), pages=(number, number))


def _bounded(image: "Image", side: int = MAX_SIDE) -> "Image":
    """The picture decoded, at most `side` points long; never enlarged."""
    from PIL import Image

    longest = max(image.size)
    if longest <= side:
        image.load()
        return image
    target = (max(1, image.width * side // longest), max(1, image.height * side // longest))
    image.draft(None, target)  # a JPEG can be decoded at a half, a quarter or an eighth of its size
    image.load()
    whole: Image.Image = image
    if image.mode == "1":
        whole = image.convert("L")
    elif image.mode in {"P", "PA"}:
        whole = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode not in {"L", "RGB", "RGBA", "LA", "CMYK"}:
        whole = _plain(image)
    return whole.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _orientation(image: "Image") -> int:
    """The EXIF orientation, 1 to 8. Read after decoding: a TIFF is turned by its decoder."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001, broken EXIF data says nothing about which side is up
        return 1
    return found if found in _TURNS else 1


def _upright(image: "Image", orientation: int) -> "Image":
    from PIL import Image

    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _is_plain(image: "Image") -> bool:
    """Whether any reader shows the picture alike: no CMYK, no 16 bits, nothing to see through."""
    if image.mode in {"1", "L", "RGB"} or (image.mode == "P" and not image.has_transparency_data):
        return True
    return image.mode in {"RGBA", "LA"} and image.getchannel("A").getextrema()[0] == 255


def _plain(image: "Image") -> "Image":
    """The picture in mode 1, L or RGB, on white where it can be seen through."""
    from PIL import Image

    if image.mode in {"1", "L", "RGB"}:
        return image
    if image.mode[0] in "IF":
        return _eight_bits(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGB", clear.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        return white
    return image.convert("RGB")


def _eight_bits(image: "Image") -> "Image":
    """A picture of 16 or 32 bits a point as grey, its brightest point white."""
    wide = image.convert("F")
    _, brightest = cast("tuple[float, float]", wide.getextrema())
    return wide.point(lambda value: value * (255 / max(1.0, brightest)) + 0).convert("L")


def _png(image: "Image") -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG", compress_level=3)
    return written.getvalue()
