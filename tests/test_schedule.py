"""Learning rate and image size over a training, and how many epochs fit into a time."""

import pytest

from tenfold.recipe import Recipe
from tenfold.train.schedule import Schedule


def make(epochs=20, **train):
    return Schedule(Recipe().change(image={"size": 64}, train={"lr": 1.0, **train}), epochs)


@pytest.mark.parametrize("name", ["onecycle", "cosine"])
def test_the_rate_rises_to_its_peak_and_falls(name):
    schedule = make(schedule=name, warmup=0.25)
    rates = [schedule.rate(step / 400) for step in range(401)]
    top = rates.index(max(rates))
    assert top == 100
    assert rates[top] == pytest.approx(1)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3)
    assert rates[0] == pytest.approx(1 / 25 if name == "onecycle" else 0)


def test_without_warm_up_it_starts_at_the_peak():
    assert make(warmup=0.0).rate(0) == pytest.approx(1)


def test_sizes_grow_to_the_last_one():
    sizes = [make(grow="on").size(epoch) for epoch in range(20)]
    assert sizes == sorted(sizes)
    assert set(sizes) == {32, 40, 48, 56, 64}
    assert sizes[-1] == 64
    assert {make(grow="off").size(epoch) for epoch in range(20)} == {64}
    assert make(1, grow="on").size(0) == 64


@pytest.mark.parametrize("grow", ["on", "off"])
@pytest.mark.parametrize("first", [0, 7])
def test_as_many_epochs_as_fit(grow, first):
    schedule = make(grow=grow)
    for seconds in (0.1, 10, 55, 333, 4000):
        schedule.fit(first, seconds, 3.0)
        chosen = schedule.epochs
        assert chosen == first + 1 or schedule.work(first) * 3 <= seconds
        schedule.epochs = chosen + 3  # sizes of past epochs shift with the plan, so one more may fit by a hair
        assert schedule.work(first) * 3 > seconds


@pytest.mark.parametrize("fixed", [0.0, 0.2, 0.6, 1.0])
def test_the_pace_at_full_size_is_told_from_smaller_images(fixed):
    schedule = make(20, grow="on")
    seconds = [fixed * 5 + (1 - fixed) * 5 * (schedule.size(epoch) / 64) ** 2 for epoch in range(20)]
    times = [(schedule.size(epoch), seconds[epoch]) for epoch in range(6)]
    assert len({size for size, _ in times}) > 1
    for _ in range(3):
        pace = schedule.measure_pace(times)
    assert pace == pytest.approx(5, rel=0.05)
    assert schedule.fixed == pytest.approx(fixed, abs=0.05)
    assert schedule.work(6) * pace == pytest.approx(sum(seconds[6:]), rel=0.05)


def test_the_latest_epochs_tell_the_pace():
    schedule = make(20, grow="off")
    assert schedule.measure_pace([(64, 2.0)]) == pytest.approx(2, rel=0.01)
    assert schedule.measure_pace([(64, 2.0)] * 5 + [(64, 8.0)] * 15) > 7
