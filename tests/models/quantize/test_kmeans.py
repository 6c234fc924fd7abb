"""Clustering and beam search beside their plain definitions; published rows are elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from plait.models.quantize import _beam
from plait.models.quantize._nearest import farthest_points
from plait.models.quantize.kmeans import cluster_vectors, nearest


def points(count: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, length)) ** 3


@pytest.mark.parametrize("entries", [1, 31, 100])
@pytest.mark.parametrize("length", [1, 2, 5, 8])
@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25, 1e80])
def test_the_nearest_is_that_of_all_distances(length: int, entries: int, scale: float) -> None:
    vectors, book = points(300, length) * scale, points(entries, length, 1) * scale
    distances = np.square((vectors[:, None] - book) / scale).sum(axis=2)
    assert nearest(vectors, book).tolist() == distances.argmin(axis=1).tolist()


def test_numbers_far_from_the_others_do_not_hide_them() -> None:
    """FP32 keeps nothing of such small differences beside so large an entry."""
    vectors = points(200, 4)
    book = np.concatenate([points(60, 4, 1), np.full((1, 4), 1e6)])
    distances = np.square(vectors[:, None] - book).sum(axis=2)
    assert nearest(vectors, book).tolist() == distances.argmin(axis=1).tolist()


def test_of_equals_the_first() -> None:
    book = np.repeat(points(3, 6), 40, axis=0)
    assert nearest(book, book).tolist() == np.repeat([0, 40, 80], 40).tolist()


@pytest.mark.parametrize("repeats", [1, 3])
def test_farthest_points_are_those_of_all_distances(repeats: int) -> None:
    vectors = np.repeat(points(80, 3), repeats, axis=0)
    chosen = [vectors[0]]
    for _ in range(99):
        distances = np.square(vectors[:, None] - np.array(chosen)).sum(axis=2).min(axis=1)
        chosen.append(vectors[distances.argmax()])
    assert farthest_points(vectors, 100).tolist() == np.array(chosen).tolist()


def test_a_cluster_without_weight_keeps_its_centroid() -> None:
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    found = cluster_vectors(vectors, 2, np.array([1.0, 3.0, 0.0]))
    assert found.centroids.tolist() == [[0.75, 0.0], [9.0, 9.0]]


@pytest.mark.slow  # half a minute where the search has not been compiled yet
@pytest.mark.parametrize("beam", [1, 3])
def test_a_search_of_rows_over_several_blocks(beam: int) -> None:
    """Each step keeps the codes of least error, the whole error computed anew for each of them."""
    outputs, groups, length, entries = 2, 35, 4, 5  # 140 columns: a block of 128, and the rest
    weight, inputs = points(outputs, groups * length), points(300, groups * length, 1)
    gram, books = inputs.T @ inputs / 300, points(2 * entries, length, 2).reshape(2, entries, -1)
    scales, start = np.array([0.7, 1.3]), np.zeros((outputs, groups, 2), np.int64)

    def error(codes: np.ndarray, row: int) -> float:
        values = (books[0][codes[:, 0]] + books[1][codes[:, 1]]).reshape(-1)
        difference = scales[row] * values - weight[row]
        return difference @ gram @ difference

    found = _beam.search_rows(weight, gram, books, scales, start, beam)
    for row in range(outputs):
        alive = [start[row]]
        for group in range(groups):
            for book in range(2):
                tried = []
                for codes in alive:
                    for entry in range(entries):
                        tried.append(codes.copy())
                        tried[-1][group, book] = entry
                alive = sorted(tried, key=lambda codes: error(codes, row))[:beam]
        assert found[row].tolist() == alive[0].tolist()
