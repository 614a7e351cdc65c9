"""Geometry and resizing of crops, against loops over pixels."""

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fabnet.video.crop import Box, centred_square, crop, encode, quality, recrop, square, turned_crop


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def pixel(image, x, y):
    height, width = image.shape[:2]
    return image[min(max(y, 0), height - 1), min(max(x, 0), width - 1)].astype(float)


def by_area(image, box, size):
    """Mean over the part of the source that each output pixel covers."""
    scale = (box.right - box.left) / size
    out = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            x0, y0 = box.left + column * scale, box.top + row * scale
            for y in range(int(np.floor(y0)), int(np.ceil(y0 + scale))):
                for x in range(int(np.floor(x0)), int(np.ceil(x0 + scale))):
                    wide = min(x + 1, x0 + scale) - max(x, x0)
                    high = min(y + 1, y0 + scale) - max(y, y0)
                    out[row, column] += pixel(image, x, y) * wide * high
    return out / scale**2


def by_interpolation(image, box, size):
    """Bilinear between pixel centres, within the cut square."""
    scale = (box.right - box.left) / size
    out = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            x = np.clip((column + 0.5) * scale - 0.5, 0, box.right - box.left - 1) + box.left
            y = np.clip((row + 0.5) * scale - 0.5, 0, box.bottom - box.top - 1) + box.top
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = (1 - abs(x - x0 - dx)) * (1 - abs(y - y0 - dy))
                out[row, column] += weight * pixel(image, x0 + dx, y0 + dy)
    return out


@pytest.mark.parametrize(
    "edges", [(5, 3, 37, 35), (0, 0, 37, 37), (-6, -4, 25, 27), (30, 20, 60, 50), (-8, -9, 60, 59)]
)
@pytest.mark.parametrize("size", [8, 16])
def test_shrinking_averages_areas(image, edges, size):
    box = Box(*edges)
    assert np.abs(crop(image, box, size) - by_area(image, box, size)).max() <= 1


@pytest.mark.parametrize("edges", [(5, 3, 15, 13), (-3, -2, 6, 7), (47, 30, 57, 40)])
def test_growing_interpolates(image, edges):
    box = Box(*edges)
    assert np.abs(crop(image, box, 24) - by_interpolation(image, box, 24)).max() <= 1


def test_same_size_is_a_copy(image):
    np.testing.assert_array_equal(crop(image, Box(4, 5, 20, 21), 16), image[5:21, 4:20])


@pytest.mark.parametrize(("width", "height", "edges"), [(64, 48, (8, 0, 56, 48)), (33, 40, (0, 3, 33, 36))])
def test_centred_square(width, height, edges):
    assert centred_square(width, height) == Box(*edges)


@pytest.mark.parametrize("edges", [(10, 20, 310, 320), (-30, 5, 226, 261), (40, 30, 160, 150)])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_recrop_against_the_authors_steps(edges, size):
    """Resize 256, Pad((20, 80, 20, 30)), CenterCrop(170), Resize, as torchvision does them to a picture of PIL."""
    y, x = np.mgrid[:340, :330]
    waves = [np.sin(x / 9) * np.cos(y / 13), np.sin(y / 7), np.cos((x + y) / 11)]
    image = np.rint(127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)
    left, top, right, bottom = edges
    inside = np.pad(image, ((50, 50), (50, 50), (0, 0)), mode="edge")[top + 50 : bottom + 50, left + 50 : right + 50]
    theirs = Image.fromarray(inside).resize((256, 256), Image.Resampling.BILINEAR)
    theirs = ImageOps.expand(theirs, border=(20, 80, 20, 30), fill=0)
    assert theirs.size == (296, 366)
    from_top, from_left = round((366 - 170) / 2), round((296 - 170) / 2)
    theirs = theirs.crop((from_left, from_top, from_left + 170, from_top + 170))
    expected = np.asarray(theirs.resize((size, size), Image.Resampling.BILINEAR), dtype=int)
    ours, box = recrop(image, Box(*edges), size)
    difference = np.abs(ours.astype(int) - expected)
    assert difference.mean() < 2
    assert np.quantile(difference, 0.99) < 10
    # A shift by one pixel of the 256 would show.
    assert np.abs(np.roll(ours.astype(int), 1, axis=1) - expected)[:, 1:].mean() > 2 * difference.mean()
    side = right - left
    assert (box.left, box.right) == pytest.approx((left + side * 43 / 256, left + side * 213 / 256))
    assert (box.top, box.bottom) == pytest.approx((top + side * 18 / 256, top + side * 188 / 256))


edge = st.floats(-200, 200)
extent = st.floats(0.1, 300)


@given(edge, edge, extent, extent, st.floats(-0.4, 4))
def test_square_is_square_whole_and_centred(left, top, width, height, margin):
    box = Box(left, top, left + width, top + height)
    got = square(box, margin)
    side = max(width, height) * (1 + 2 * margin)
    assert got.right - got.left == got.bottom - got.top == max(1, round(side)) or side % 1 == pytest.approx(0.5)
    assert all(value == int(value) for value in (got.left, got.top, got.right, got.bottom))
    assert abs((got.left + got.right) - (box.left + box.right)) <= 1
    assert abs((got.top + got.bottom) - (box.top + box.bottom)) <= 1


def test_quality_against_loops(image):
    grey = np.rint(image @ np.array([0.299, 0.587, 0.114]))
    # OpenCV mirrors at the border without repeating the edge pixel.
    padded = np.pad(grey, 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey
    sharpness, brightness = quality(image)
    assert sharpness == pytest.approx(laplacian.var(), rel=0.01)
    assert brightness == pytest.approx(grey.mean(), abs=0.1)


def test_encoded_crop_is_a_jpeg_of_it():
    y, x = np.mgrid[:32, :32]
    smooth = np.stack([4 * x + 60, 4 * y + 60, 255 - 4 * x], axis=-1).astype(np.uint8)
    decoded = simplejpeg.decode_jpeg(encode(smooth, 95), "RGB")
    assert np.abs(decoded.astype(int) - smooth).mean() < 2
    assert len(encode(smooth, 30)) < len(encode(smooth, 95))


def test_a_turned_crop_by_hand():
    """A quarter turn is a transposition, no turn is `crop`, and a half-size crop keeps its place."""
    image = np.random.default_rng(3).integers(0, 256, (120, 140, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    box = Box(40, 30, 80, 70)
    for size in (40, 20):
        straight = crop(image, box, size)
        np.testing.assert_allclose(turned_crop(image, box, size, 0.0).astype(int), straight, atol=6)
        # A head that is turned clockwise by a quarter comes upright by a quarter turn anticlockwise.
        np.testing.assert_allclose(turned_crop(image, box, size, 90.0).astype(int), np.rot90(straight), atol=6)
    assert turned_crop(image, Box(-20, -20, 20, 20), 32, 30.0).shape == (32, 32, 3)
