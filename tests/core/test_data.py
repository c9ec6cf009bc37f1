"""The datasets: their formulas, their sizes, their seeds, and the global generator that they leave alone."""

import math
import random
import re

import numpy as np
import pytest

from tinygrad_bp import data


def test_quadratic_is_the_texts():
    xs, ys = data.quadratic()
    published = np.arange(-7, 5, 0.05)
    assert len(xs) == len(ys) == len(published) == 240
    assert xs == pytest.approx(list(published), abs=1e-12)
    assert xs[-1] == pytest.approx(4.95)
    assert ys == pytest.approx([x**2 + 2 * x - 3 for x in published], abs=1e-11)


@pytest.mark.parametrize(
    ("low", "high", "step", "count"), [(0, 1, 0.25, 4), (0, 1, 0.3, 4), (0, 1, 2, 1), (1, 0, 0.1, 0)]
)
def test_quadratic_ends_below_high(low, high, step, count):
    xs, ys = data.quadratic(low, high, step)
    assert len(xs) == len(ys) == count
    assert xs == [low + i * step for i in range(count)]


def test_moons_without_noise_lie_on_two_half_circles():
    xs, ys = data.moons(101, noise=0.0)
    assert len(xs) == len(ys) == 101
    assert (ys.count(-1.0), ys.count(1.0)) == (50, 51)
    for (a, b), y in zip(xs, ys):
        if y < 0:
            assert (math.hypot(a, b), b >= 0.0) == (pytest.approx(1.0), True)
        else:
            assert (math.hypot(a - 1.0, b - 0.5), b <= 0.5) == (pytest.approx(1.0), True)


def test_spiral_arms_wind_outward():
    xs, ys = data.spiral(90, classes=3, noise=0.0)
    assert [ys.count(k) for k in range(3)] == [30, 30, 30]
    for k in range(3):
        radii = [math.hypot(*x) for x, y in zip(xs, ys) if y == k]
        assert radii == pytest.approx([i / 29 for i in range(30)])
    first = [x for x, y in zip(xs, ys) if y == 0]
    assert math.atan2(*first[10]) == pytest.approx(4.0 * 10 / 29)


@pytest.mark.parametrize("n", [1, 2, 7, 10, 100])
def test_spiral_has_as_many_points_as_asked(n):
    xs, ys = data.spiral(n, classes=3)
    assert len(xs) == len(ys) == n
    counts = [ys.count(k) for k in range(3)]
    assert max(counts) - min(counts) <= 1
    assert len(data.moons(n)[0]) == n


def test_xor():
    xs, ys = data.xor()
    assert [int(a) ^ int(b) for a, b in xs] == ys
    xs[0][0] = 9.0
    assert data.xor()[0][0] == [0.0, 0.0]  # each call makes its own


@pytest.mark.parametrize("make", [data.moons, data.spiral])
def test_a_seed_gives_the_same_points_and_the_global_generator_is_left_alone(make):
    random.seed(1)
    before = random.getstate()
    assert make(20, seed=3) == make(20, seed=3)
    assert make(20, seed=3) != make(20, seed=4)
    assert random.getstate() == before


@pytest.mark.parametrize("make", [data.moons, data.spiral])
def test_noise_moves_the_points_by_about_itself(make):
    still, moved = make(200, noise=0.0)[0], make(200, noise=0.05)[0]
    distances = [math.dist(a, b) for a, b in zip(still, moved)]
    assert 0.01 < sum(distances) / 200 < 0.1


@pytest.mark.parametrize("make", [data.moons, data.spiral])
@pytest.mark.parametrize("n", [0, -5, 2.5, "ten", None])
def test_a_number_of_points_that_is_none(make, n):
    with pytest.raises(ValueError, match=f"{make.__name__}: .*whole number .*from 1 up"):
        make(n)


@pytest.mark.parametrize("classes", [0, -1, 1.5])
def test_a_number_of_classes_that_is_none(classes):
    with pytest.raises(ValueError, match="spiral: classes: a whole number from 1 up"):
        data.spiral(10, classes=classes)  # and it speaks of classes, not of points


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan])
def test_a_step_that_goes_nowhere(step):
    with pytest.raises(ValueError, match="quadratic: step is above 0"):
        data.quadratic(step=step)


def test_digits_are_images_in_ten_classes():
    xs, ys = data.digits()
    assert {len(x) for x in xs} == {64} and {*ys} == {*range(10)} and len(xs) == len(ys) == 1797
    assert {pixel * 16 for x in xs for pixel in x} == {*range(17)}
    assert all(170 < ys.count(k) < 190 for k in range(10))


def test_names_are_lower_case_and_each_there_once():
    names = data.names()
    assert names == sorted({*names}) and len(names) > 2000
    assert all(re.fullmatch("[a-z]+", name) for name in names)


def test_split_keeps_every_sample_once():
    samples = [(i, -i) for i in range(7)]
    train, test = data.split(samples, part=0.3, seed=1)
    assert (len(train), len(test)) == (5, 2) and sorted(train + test) == samples
    assert data.split(samples, part=0.3, seed=1) == (train, test) != data.split(samples, part=0.3, seed=2)
    with pytest.raises(ValueError, match=r"a part of 0\.2 of 1 samples leaves one of two lists empty"):
        data.split([1])


def test_characters_go_to_numbers_and_back():
    characters = data.Characters(data.names())
    assert len(characters) == 27 and characters.decode(characters.encode("emma") + [0]) == "emma"
    with pytest.raises(ValueError, match="'é' at place 4 of 'andré' is not in the alphabet 'abc"):
        characters.encode("andré")
    for numbers, text in (([1, 27], "27 at place 1"), ([-1], "-1 at place 0"), ([0.5], "0.5 at place 0")):
        with pytest.raises(
            ValueError, match=f"^{text} is no character's number: .* whole numbers from 1 to 26"
        ):
            characters.decode(numbers)
