"""Decode: formats, depths, transparency, orientation, damage and limits, against Pillow and against formulas."""

import io
import json
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, features

from tenfold.errors import DataError, UsageError
from tenfold.images import decode
from tenfold.images.decode import MAX_PIXELS, decode_image, image_size, is_grey
from tenfold.images.jpeg import decode_jpeg, read_header

HEIGHT, WIDTH = 37, 53
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "BMP": {}, "TIFF": {}, "PPM": {}, "TGA": {}}
ORIENTED = [
    ("JPEG", {}),
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
]


def photo(channels=3, seed=0):
    """Something smooth with some noise: uint8 [HEIGHT, WIDTH, channels]."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([128 + 100 * np.sin(x / (5 + c) + y / (7 - c)) for c in range(channels)], -1)
    return np.clip(waves + draw.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)


def encode(image, format, **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format, **options)
    return buffer.getvalue()


def png(rows, depth, kind, *chunks):
    """A PNG from packed rows (bytes) of a depth and color type, which Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width = len(rows[0]) * 8 // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*pair) for pair in chunks) + pixels + chunk(b"IEND", b"")


def over(color, alpha, background):
    """Alpha blending in real numbers."""
    share = alpha.astype(float)[..., None] / 255
    return color * share + background * (1 - share)


# JPEG: the fast path


@pytest.mark.parametrize("channels", ["grey", "rgb", "bgr"])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1, "quality": 95},
        {"subsampling": 2, "quality": 30},
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"optimize": True},
        {"keep_rgb": True, "subsampling": 0},
    ],
    ids=str,
)
def test_the_fast_path_has_pillows_pixels(options, channels):
    content = encode(photo(), "JPEG", **options)
    pillow = Image.open(io.BytesIO(content))
    assert decode_jpeg(content, "rgb", False, "") is not None  # it is the fast path that is tested
    result = decode_image(content, channels=channels)
    truth = np.asarray(pillow.convert("L"))[..., None] if channels == "grey" else np.asarray(pillow)
    np.testing.assert_array_equal(result, truth[..., ::-1] if channels == "bgr" else truth)


def test_a_grey_jpeg():
    content = encode(photo(1)[..., 0], "JPEG")
    truth = np.asarray(Image.open(io.BytesIO(content)))[..., None]
    np.testing.assert_array_equal(decode_image(content, channels="grey"), truth)
    np.testing.assert_array_equal(decode_image(content, channels="rgb"), truth.repeat(3, 2))


def test_photos_have_pillows_pixels(shared_data):
    for path in sorted((shared_data / "flowers").glob("*/*.jpg"))[::200]:
        np.testing.assert_array_equal(
            decode_image(path.read_bytes(), channels="rgb"), np.asarray(ImageOps.exif_transpose(Image.open(path)))
        )


def test_harmless_irregularities_are_decoded():
    content = encode(photo(), "JPEG")
    start = content.index(b"\xff\xdb")
    junk = content[:start] + b"\x00\x11\x22" + content[start:]
    trailer = content + b"anything" * 100
    for odd in (junk, trailer):
        np.testing.assert_array_equal(decode_image(odd, channels="rgb"), decode_image(content, channels="rgb"))


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format", "options"), ORIENTED, ids=str)
def test_orientation_is_applied_once(format, options, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = encode(photo(), format, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    result = decode_image(content, channels="rgb")
    np.testing.assert_array_equal(result, np.asarray(upright))
    assert image_size(content) == result.shape[:2] == ((WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["B", "H", "I"])
def test_exif_of_either_byte_order_and_any_width(order, kind):
    entry = struct.pack(f"{order}HHI", 0x0112, {"B": 1, "H": 3, "I": 4}[kind], 1)
    entry += struct.pack(order + kind, 6).ljust(4, b"\0")
    exif = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, 1) + entry + bytes(4)
    content = encode(photo(), "JPEG", exif=b"Exif\0\0" + exif)
    assert image_size(content) == (WIDTH, HEIGHT)
    cut = encode(photo(), "JPEG", exif=b"Exif\0\0" + exif[:12])
    assert image_size(cut) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_orientation_in_xmp_alone_counts_as_in_pillow(format):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    if format == "JPEG":
        content = encode(photo(), "JPEG", xmp=packet)
    else:
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
        content = png([row.tobytes() for row in photo()], 8, 2, (b"iTXt", text))
    assert decode_image(content, channels="rgb").shape[:2] == image_size(content) == (WIDTH, HEIGHT)


def test_the_first_picture_of_an_mpo_turned_once():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    content = encode(photo(), "MPO", save_all=True, append_images=[Image.fromarray(photo(seed=1))], exif=exif)
    result = decode_image(content, channels="rgb")
    np.testing.assert_array_equal(result, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))


# Formats and depths


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_formats_in_each_order_of_channels(format):
    content = encode(photo(), format, **LOSSLESS[format])
    np.testing.assert_array_equal(decode_image(content, channels="rgb"), photo())
    np.testing.assert_array_equal(decode_image(content, channels="bgr"), photo()[..., ::-1])
    wide = photo().astype(np.uint32)
    luma = (19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 32768) >> 16  # ITU-R 601
    np.testing.assert_array_equal(decode_image(content, channels="grey")[..., 0], luma)
    assert image_size(content) == (HEIGHT, WIDTH)


def test_gif_gives_its_first_frame():
    frames = [Image.fromarray(np.full((8, 9), level, np.uint8)) for level in (10, 200)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode_image(content, channels="rgb"), np.full((8, 9, 3), 10))


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
def test_jpeg_2000():
    np.testing.assert_array_equal(decode_image(encode(photo(), "JPEG2000"), channels="rgb"), photo())


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif():
    content = encode(photo(), "AVIF", quality=100, subsampling="4:4:4")
    assert np.abs(decode_image(content, channels="rgb").astype(int) - photo()).mean() < 2


def test_heic_turned_once():
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(photo())).save(buffer, quality=-1, exif=exif.tobytes())
    result = decode_image(buffer.getvalue(), channels="rgb")
    assert image_size(buffer.getvalue()) == result.shape[:2] == (WIDTH, HEIGHT)
    assert np.abs(result.astype(int) - np.rot90(photo(), -1)).mean() < 8  # color is stored at half size


def test_heic_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"^Cannot decode a\.heic: HEIC needs .*: .*pip install .*pillow-heif$"):
        decode_image(b"\0\0\0\x18ftypheic" + bytes(40), channels="rgb", name="a.heic")


WIDE = np.random.default_rng(3).integers(0, 65536, (6, 7, 3)).astype(">u2")


@pytest.mark.parametrize(
    "content",
    [
        png([row.tobytes() for row in WIDE], 16, 2),
        b"P6\n7 6\n65535\n" + WIDE.tobytes(),
    ],
    ids=["png", "ppm"],
)
def test_16_bit_color_keeps_the_high_byte(content):
    np.testing.assert_array_equal(decode_image(content, channels="rgb"), WIDE >> 8)


def grey_files():
    grey = WIDE[..., 0]
    native = Image.fromarray(grey.astype(np.uint16))
    yield "png", png([row.tobytes() for row in grey], 16, 0), grey >> 8
    yield "pgm", b"P5\n7 6\n65535\n" + grey.tobytes(), grey >> 8
    yield "tiff", encode(native, "TIFF"), grey >> 8
    yield "tiff, white is zero", encode(native, "TIFF", tiffinfo={262: 0}), 255 - (grey >> 8)
    yield "jpeg 2000", encode(native, "JPEG2000"), grey >> 8
    yield "pgm of 12 bits", b"P5\n7 6\n4095\n" + (grey >> 4).astype(">u2").tobytes(), grey >> 8


@pytest.mark.parametrize(("content", "truth"), [pytest.param(*rest, id=name) for name, *rest in grey_files()])
def test_16_bit_grey_keeps_the_high_byte(content, truth):
    result = decode_image(content, channels="grey")
    np.testing.assert_array_equal(result[..., 0], truth)
    np.testing.assert_array_equal(decode_image(content, channels="rgb"), result.repeat(3, 2))
    assert is_grey(content)


def test_pixels_without_a_stated_range_are_refused():
    values = np.linspace(0, 1, 42, dtype=np.float32).reshape(6, 7)
    for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
        with pytest.raises(DataError, match=r"^Cannot decode a\.tif: its pixels are 32-bit, signed or floating-point"):
            decode_image(encode(image, "TIFF"), channels="grey", name="a.tif")


# Transparency, palettes, other color spaces


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("background", [0, 90, 255])
def test_alpha_lies_over_the_background(format, background):
    image = photo(4)
    image[:9, :, 3], image[-9:, :, 3] = 0, 255
    content = encode(image, format, **LOSSLESS[format])
    result = decode_image(content, channels="rgb", background=background)
    assert np.abs(result - over(image[..., :3], image[..., 3], background)).max() <= 0.5 + 1e-9
    assert (result[:9] == background).all()
    grey = decode_image(content, channels="grey", background=background)
    assert (grey[:9] == background).all()


def test_grey_with_alpha_of_16_bits():
    pairs = WIDE[..., :2]
    content = png([row.tobytes() for row in pairs], 16, 4)
    high = pairs >> 8
    result = decode_image(content, channels="grey", background=100)
    assert np.abs(result - over(high[..., :1], high[..., 1], 100)).max() <= 0.5 + 1e-9
    assert is_grey(content)


def test_a_transparent_value():
    grey = WIDE[..., 0]
    content = png([row.tobytes() for row in grey], 16, 0, (b"tRNS", struct.pack(">H", int(grey[2, 3]))))
    truth = np.where(grey == grey[2, 3], 9, grey >> 8)
    np.testing.assert_array_equal(decode_image(content, channels="grey", background=9)[..., 0], truth)
    color = photo()
    content = png([row.tobytes() for row in color], 8, 2, (b"tRNS", struct.pack(">HHH", *map(int, color[2, 3]))))
    truth = np.where((color == color[2, 3]).all(-1, keepdims=True), 9, color)
    np.testing.assert_array_equal(decode_image(content, channels="rgb", background=9), truth)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_with_alpha(depth):
    draw = np.random.default_rng(depth)
    colors = draw.integers(0, 256, (2**depth, 3), dtype=np.uint8)
    alpha = draw.integers(0, 256, 2**depth, dtype=np.uint8)
    places = draw.integers(0, 2**depth, (5, 16))
    bits = (places[..., None] >> np.arange(depth)[::-1]) & 1
    rows = [row.tobytes() for row in np.packbits(bits.reshape(5, -1), axis=1)]
    content = png(rows, depth, 3, (b"PLTE", colors.tobytes()), (b"tRNS", alpha.tobytes()))
    result = decode_image(content, channels="rgb", background=60)
    assert np.abs(result - over(colors[places], alpha[places], 60)).max() <= 0.5 + 1e-9
    assert not is_grey(content)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_four_inks(format):
    """Solid CMYK; Adobe's JPEG stores the inks inverted."""
    inks = {"cyan": (255, 0, 0, 0), "red": (0, 255, 255, 0), "black": (0, 0, 0, 255), "grey": (0, 0, 0, 100)}
    colors = {"cyan": (0, 255, 255), "red": (255, 0, 0), "black": (0, 0, 0), "grey": (155, 155, 155)}
    for name, ink in inks.items():
        content = encode(Image.new("CMYK", (16, 16), ink), format)
        result = decode_image(content, channels="rgb")
        assert np.abs(result.astype(int) - colors[name]).max() <= 2


def test_ycck():
    """YCCK is CMYK whose first three inks are stored as YCbCr: made from a CMYK file by its Adobe marker."""
    y, cb, cr, k = 120, 90, 160, 200
    content = encode(Image.new("CMYK", (16, 16), (255 - y, 255 - cb, 255 - cr, 255 - k)), "JPEG", quality=100)
    marker = content.index(b"Adobe") + 11
    assert content[marker] in (0, 2)
    content = content[:marker] + b"\x02" + content[marker + 1 :]
    red = y + 1.402 * (cr - 128)  # JFIF
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    blue = y + 1.772 * (cb - 128)
    truth = (255 - np.array([red, green, blue])) * k / 255  # YCCK holds the complements of the stored inks
    assert np.abs(decode_image(content, channels="rgb") - truth).max() <= 3


def test_lab():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    for color in ((200, 40, 90), (255, 255, 255), (90, 120, 70)):
        lab = ImageCms.profileToProfile(Image.new("RGB", (8, 8), color), *profiles, outputMode="LAB")
        assert np.abs(decode_image(encode(lab, "TIFF"), channels="rgb").astype(int) - color).max() <= 4


# Damage


def test_a_truncated_file_is_refused_by_name():
    for format in ("JPEG", "PNG", "WEBP", "BMP", "TIFF"):
        content = encode(photo(), format)
        with pytest.raises(DataError, match=r"^Cannot decode roses/7: it is damaged"):
            decode_image(content[: len(content) * 2 // 3], channels="rgb", name="roses/7")


def test_a_hole_in_a_jpeg_is_refused():
    content = encode(photo(), "JPEG", quality=95)
    holed = content[: len(content) // 2] + content[-2:]  # the end marker is there, the data are not
    with pytest.raises(DataError, match=r"^Cannot decode a\.jpg: it is damaged or ends too early \(premature end of"):
        decode_image(holed, channels="rgb", name="a.jpg")


@pytest.mark.parametrize(("format", "missing"), [("JPEG", 128), ("PNG", 0)])
def test_a_truncated_file_is_taken_where_allowed(format, missing):
    content = encode(photo().repeat(4, 0), format)
    whole = decode_image(content, channels="rgb")
    part = decode_image(content[: len(content) // 2], channels="rgb", allow_truncated=True)
    same = (part == whole).all((1, 2))
    assert same[: len(same) // 5].all()
    assert (part[-8:] == missing).all()
    begin = content.index({"JPEG": b"\xff\xda", "PNG": b"IDAT"}[format])
    with pytest.raises(DataError, match=r"^Cannot decode "):  # nothing of the image itself is there
        decode_image(content[: begin + 4], channels="rgb", allow_truncated=True)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_do_not_share_what_is_allowed():
    content = encode(photo(), "PNG")
    content = content[: len(content) // 2]

    def attempt(number):
        try:
            return decode_image(content, channels="rgb", allow_truncated=number % 2 == 0).shape
        except DataError:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(200)))
    assert results == [(HEIGHT, WIDTH, 3), None] * 100


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xe1", b"no image", bytes(1000)], ids=repr
)
def test_what_is_no_image_is_refused(content):
    for work in (lambda: decode_image(content, channels="rgb", name="x"), lambda: image_size(content, name="x")):
        with pytest.raises(DataError, match=r"^Cannot decode x: .*\.$"):
            work()


def test_what_starts_programs_is_no_image():
    with pytest.raises(DataError, match="no image of a known format"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", channels="rgb")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "TIFF"])
def test_random_damage_gives_an_array_or_a_sentence(format):
    content = bytearray(encode(photo(), format))
    draw = np.random.default_rng(0)
    sentences = []
    for _ in range(60):
        damaged = content.copy()
        for place in draw.integers(0, len(damaged), 4):
            damaged[place] = draw.integers(256)
        try:
            decode_image(bytes(damaged), channels="rgb", max_pixels=10_000)
        except DataError as error:
            sentences.append(str(error))
    assert all(sentence.startswith("Cannot decode the image: ") for sentence in sentences)


# Limits


def test_a_bomb_is_refused_by_its_header():
    jpeg = bytearray(encode(photo(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    bitmap = bytearray(encode(photo(), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 60_000, 60_000)
    for content in (bytes(jpeg), bytes(bitmap)):
        with pytest.raises(DataError) as caught:
            decode_image(content, channels="rgb", name="bomb")
        assert str(caught.value) == (
            "Cannot decode bomb: its header claims more than the 89,478,485 pixels that are allowed; scale it down."
        )


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_the_limit_can_be_set(format):
    content = encode(photo(), format)
    assert decode_image(content, channels="rgb", max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DataError, match="more than the 1,960 pixels"):
        decode_image(content, channels="rgb", max_pixels=HEIGHT * WIDTH - 1)
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS


def test_arguments_are_checked():
    with pytest.raises(UsageError, match=r"^channels of decode_image must be one of grey, rgb, bgr, not 'gray'; did"):
        decode_image(b"", channels="gray")
    with pytest.raises(UsageError, match=r"^background of decode_image must be from 0 to 255, not 256\.$"):
        decode_image(b"", channels="rgb", background=256)


# Arrays, and what the header tells


def test_arrays_become_the_channels_asked_for():
    color, grey = photo(), photo(1)
    np.testing.assert_array_equal(decode_image(color, channels="rgb"), color)
    np.testing.assert_array_equal(decode_image(color, channels="bgr"), color[..., ::-1])
    np.testing.assert_array_equal(
        decode_image(color, channels="grey")[..., 0], np.asarray(Image.fromarray(color).convert("L"))
    )
    for array in (grey, grey[..., 0]):
        np.testing.assert_array_equal(decode_image(array, channels="grey"), grey)
        np.testing.assert_array_equal(decode_image(array, channels="rgb"), grey.repeat(3, 2))
    transparent = photo(4)
    result = decode_image(transparent, channels="rgb", background=50)
    assert np.abs(result - over(transparent[..., :3], transparent[..., 3], 50)).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(decode_image(color[::2, ::-1], channels="bgr"), color[::2, ::-1, ::-1])


@pytest.mark.parametrize("shape", [(5,), (5, 5, 2), (0, 5, 3), (2, 5, 5, 3)])
def test_arrays_of_another_shape_are_refused(shape):
    for work in (lambda array: decode_image(array, channels="rgb", name="digits, row 3"), image_size, is_grey):
        with pytest.raises(DataError, match=r"an array must be uint8 \[H, W\] or \[H, W, C\] with C 1, 3 or 4"):
            work(np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=r"^Cannot use digits, row 3: .*, not float64 \[5, 5\]\.$"):
        decode_image(np.zeros((5, 5)), channels="rgb", name="digits, row 3")


def test_is_grey_tells_what_is_stored():
    grey = photo(1)[..., 0]
    palette = Image.fromarray(grey).convert("P")
    assert is_grey(grey)
    assert is_grey(photo(1))
    assert not is_grey(photo())
    for content in (encode(grey, "JPEG"), encode(grey, "PNG"), encode(grey > 99, "PNG"), encode(palette, "PNG")):
        assert is_grey(content)
    colors = Image.fromarray(photo()).convert("P")
    for content in (encode(photo(), "JPEG"), encode(grey[..., None].repeat(3, 2), "PNG"), encode(colors, "GIF")):
        assert not is_grey(content)


def test_the_header_of_a_jpeg():
    assert read_header(encode(photo(), "JPEG", progressive=True)) == (HEIGHT, WIDTH, 3, 1)
    assert read_header(encode(photo(1)[..., 0], "JPEG")) == (HEIGHT, WIDTH, 1, 1)
    assert read_header(encode(Image.new("CMYK", (5, 5)), "JPEG")) is None
    assert read_header(encode(photo(), "PNG")) is None


def test_results_are_writable_and_contiguous():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for content in (encode(photo(), "JPEG"), encode(photo(), "PNG"), encode(photo(), "JPEG", exif=exif)):
        for channels in ("grey", "rgb", "bgr"):
            result = decode_image(content, channels=channels)
            assert result.flags.writeable
            assert result.flags.c_contiguous


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_decoding_holds_no_lock(format):
    content = encode(photo().repeat(40, 0).repeat(40, 1), format)
    seen = []

    def work():
        seen.append("begun")
        for _ in range(100):  # on a busy machine the other thread may sleep through the first ones
            decode_image(content, channels="rgb")
            if "between" in seen:
                break
        seen.append("done")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(600)  # from here on a thread runs only when another gives up the lock by itself
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while "done" not in seen:
            if "begun" in seen:
                seen.append("between")
            time.sleep(0.0005)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert "between" in seen


# The collection of odd files

REFUSED = {
    "LICENSE.txt": "no image of a known format",
    "bmp__b__badpalettesize.bmp": "Palette size",
    "bmp__b__badwidth.bmp": "more than the 89,478,485 pixels",
    "broken_data_stream.png": "damaged or unusual",
    "crash-4f085cc12ece8cde18758d42608bed6a2a2cfb1c.tif": "damaged or unusual",
    "decompression_bomb.ico": "more than the 89,478,485 pixels",
    "dummy.container": "no image of a known format",
    "expected_to_read.jp2": "damaged or unusual",
    "hopper_be.pfm": "without a stated range",
    "no_cursors.cur": "no image of a known format",
    "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": "no image of a known format",
    "pngtest_bad.png.bin": "no image of a known format",
    "truncated_end_chunk.png": "damaged or ends too early",
    "truncated_image.png": "damaged or ends too early",
    "ultrahdr.jpg": "damaged or ends too early",
    "zero_height.j2k": "no image of a known format",
}

READ_ALL = """
import json, resource, sys, time, zlib
from pathlib import Path
from tenfold.errors import DataError
from tenfold.images.decode import decode_image, image_size
for path in sorted(Path(sys.argv[1]).iterdir()):
    content, begun = path.read_bytes(), time.perf_counter()
    try:
        pixels = decode_image(content, channels="rgb", name=path.name)
        answer = {"shape": pixels.shape, "size": image_size(content), "crc": zlib.crc32(pixels)}
    except DataError as error:
        answer = {"error": str(error)}
    print(json.dumps({"name": path.name, "seconds": time.perf_counter() - begun, **answer}))
status = Path("/proc/self/status")  # on Linux ru_maxrss begins at what the parent had, which is all of pytest
if status.exists():
    most = int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
else:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({
    "bytes": most,
    "heavy": sorted({"torch", "pandas", "sklearn"} & set(sys.modules)),
}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="measures memory with the module resource, which Windows lacks")
def test_odd_files_give_the_right_array_or_one_sentence(shared_data):
    folder = shared_data / "odd-images"
    run = subprocess.run([sys.executable, "-c", READ_ALL, str(folder)], capture_output=True, text=True, check=True)
    *answers, total = map(json.loads, run.stdout.splitlines())
    assert len(answers) == len(list(folder.iterdir()))
    assert total["bytes"] < 2**30
    assert total["heavy"] == []
    for answer in answers:
        name = answer["name"]
        assert answer["seconds"] < 2, name
        if name in REFUSED:
            assert REFUSED[name] in answer["error"]
            assert answer["error"].startswith(f"Cannot decode {name}: ")
            assert "\n" not in answer["error"]
        else:
            truth = by_pillow(folder / name)
            assert answer["size"] == answer["shape"][:2] == list(truth.shape[:2]), name
            assert answer["crc"] == zlib.crc32(truth), name


def by_pillow(path):
    """The plain way: turned, over white, 16 bits divided by 256."""
    with warnings.catch_warnings(action="ignore"):
        image = ImageOps.exif_transpose(Image.open(path))
        if image.mode.startswith("I"):
            return (np.asarray(image) // 256).astype(np.uint8)[..., None].repeat(3, 2)
        image = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


MEASURE = """
import sys
from pathlib import Path
from tenfold.images.decode import decode_image
def most():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
content = Path(sys.argv[1]).read_bytes()
decode_image(Path(sys.argv[2]).read_bytes(), channels="rgb")
before = most()
decode_image(content, channels="rgb")
print(most() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory from /proc")
def test_a_large_image_with_alpha_takes_at_most_eleven_bytes_a_pixel(tmp_path):
    for name, side in (("large.png", 4096), ("small.png", 8)):
        Image.new("RGBA", (side, side), (200, 100, 50, 128)).save(tmp_path / name, compress_level=1)
    words = [sys.executable, "-c", MEASURE, str(tmp_path / "large.png"), str(tmp_path / "small.png")]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    assert 3 * 4096**2 < int(run.stdout) < 11 * 4096**2


@pytest.mark.parametrize(("limit", "together"), [(HEIGHT * WIDTH, 2), (HEIGHT * WIDTH - 1, 1)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_large_images_are_decoded_one_at_a_time(monkeypatch, format, limit, together):
    monkeypatch.setattr(decode, "LARGE", limit)
    content, seen, now = encode(photo(), format), [], []
    meeting = threading.Barrier(2)

    def watched(real):
        def work(*words):
            now.append(1)
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.2)  # the other one comes, unless it must wait for its turn
            seen.append(len(now))
            now.pop()
            return real(*words)

        return work

    monkeypatch.setattr(decode, "_load", watched(decode._load))
    monkeypatch.setattr(decode, "_from_jpeg", watched(decode._from_jpeg))
    with ThreadPoolExecutor(2) as pool:
        pixels = list(pool.map(lambda _: decode_image(content, channels="rgb"), range(2)))
    assert np.array_equal(*pixels)
    assert max(seen) == together
