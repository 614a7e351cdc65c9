"""Hashes of pictures against their definition, and near pairs against a loop."""

import cv2
import numpy as np
import pytest
from scipy.fft import dctn

from fabnet.quality.hashes import near_pairs, not_flat, phash, thumbnail


def pictures(count: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return np.stack([cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC) for one in coarse])


def small(images: np.ndarray, side: int) -> np.ndarray:
    return np.stack([thumbnail(image, side) for image in images])


def test_phash_is_its_definition():
    images = small(pictures(20), 32)
    for image, value in zip(images, phash(images), strict=True):
        low = dctn(image.astype(np.float64), norm="ortho")[:8, :8].ravel()
        bits = [True, *(low[1:] > np.median(low[1:]))]
        assert int(value) == sum(1 << place for place, bit in enumerate(bits) if bit)


def test_phash_survives_light_and_recompression_but_no_other_picture():
    images = pictures(50)
    changed = []
    for image in images:
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        changed.append(
            np.clip(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE).astype(int) * 0.9 + 10, 0, 255).astype(np.uint8)
        )
    before, after = phash(small(images, 32)), phash(small(np.stack(changed), 32))
    assert np.bitwise_count(before ^ after).max() <= 6
    others = np.bitwise_count(before[:, None] ^ before[None])[~np.eye(50, dtype=bool)]
    assert others.min() > 10


def test_flat_pictures_are_known():
    flat = np.full((2, 32, 32), [[[0]], [[200]]], dtype=np.uint8)
    assert not_flat(phash(flat)).tolist() == [False, False]
    assert not_flat(phash(small(pictures(5), 32))).all()


@pytest.mark.parametrize("block", [2, 5, 100])
def test_near_pairs_are_those_of_a_loop(monkeypatch, block):
    monkeypatch.setattr("fabnet.quality.hashes._BLOCK", block)
    images = pictures(12)
    noisy = np.clip(images[[3, 7, 7]].astype(int) + np.array([1, 2, 4])[:, None, None], 0, 255).astype(np.uint8)
    left, right = images, np.concatenate([pictures(6, seed=1), noisy])
    hashes = phash(small(left, 32)), phash(small(right, 32))
    thumbnails = small(left, 16), small(right, 16)
    expected = []
    for i in range(len(left)):
        for j in range(len(right)):
            distance = np.abs(thumbnails[0][i].astype(int) - thumbnails[1][j]).mean()
            if bin(int(hashes[0][i]) ^ int(hashes[1][j])).count("1") <= 6 and distance <= 5:
                expected.append((distance, i, j))
    expected.sort()
    assert {(i, j) for _, i, j in expected} >= {(3, 6), (7, 7)}
    found = near_pairs(hashes, thumbnails, bits=6, grey=5, kept=2)
    assert found.count == len(expected)
    assert list(zip(found.distance, found.first, found.second, strict=True)) == expected[:2]
    assert found.members == (len({i for _, i, _ in expected}), len({j for _, _, j in expected}))
