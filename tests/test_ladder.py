"""The ladder: an honest choice among rungs, on folds that keep groups whole, within the time given."""

import json
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from tenfold.errors import UsageError
from tenfold.estimate import units_of
from tenfold.images import prepared as prepared_module
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table, make_samples
from tenfold.models.heads import HEADS, held_out_answers
from tenfold.transfer import Clock, Exam, Extractor, Eye, Source, climb, climb_table, fold_numbers
from tenfold.transfer.choice import choices_without, choose_candidate
from tenfold.transfer.ladder import LADDER, AloneError
from tests.frozen import PREPROCESSING, TinyBackbone, tiny_extractor
from tests.test_heads import clouds
from tests.toys import shapes_table, write_shapes


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def single(count):
    return units_of(None, count)


# The rule.


def losses_of(*columns):
    return np.stack([np.asarray(column, np.float64) for column in columns], 1)


def test_the_lowest_is_taken_unless_a_cheaper_one_is_within_a_standard_error():
    generator = np.random.default_rng(0)
    hard = generator.exponential(1, 100)  # images differ far more than candidates do
    noise = generator.normal(0, 0.1, 100)
    noise -= noise.mean()
    clearly, hardly = hard + 0.1 + noise, hard + 0.005 + noise
    units = single(100)
    assert choose_candidate(losses_of(clearly, hard), np.array([0, 1]), units) == 1
    assert choose_candidate(losses_of(hardly, hard), np.array([0, 1]), units) == 0
    assert choose_candidate(losses_of(hardly, hard), np.array([1, 0]), units) == 1
    assert choose_candidate(losses_of(hardly, hard), np.array([0, 0]), units) == 1


def test_the_standard_error_is_that_of_the_difference():
    generator = np.random.default_rng(0)
    difference = generator.normal(0.1, 1, 400)
    error = difference.std(ddof=1) / 20
    losses = losses_of(difference - difference.mean(), np.zeros(400))
    for shift, cheap in ((0.99 * error, 0), (1.01 * error, 1)):
        assert choose_candidate(losses + np.array([shift, 0]), np.array([0, 1]), single(400)) == cheap
    assert choose_candidate(losses + np.array([1.4 * error, 0]), np.array([0, 1]), single(400), widen=1.5) == 0


def test_groups_tell_less_than_so_many_images():
    """The same differences, by chance of a group: of images a clear lead, of ten groups none."""
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(10), 20)
    each = generator.normal(0, 1, 10)
    difference = 0.1 + 0.4 * ((each - each.mean()) / each.std())[groups]
    losses, costs = losses_of(difference, np.zeros(200)), np.array([0, 1])
    assert choose_candidate(losses, costs, single(200)) == 1
    assert choose_candidate(losses, costs, units_of(groups.astype(object), 200)) == 0


# What is left of a figure once it was chosen.


def simulate(means, count=40, repeats=150, groups=1):
    """Errors of the plain figure and of the corrected one as estimates of the chosen candidate's true loss."""
    plain, corrected = [], []
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        each = generator.normal(0, 1, (count, len(means)))
        losses = np.repeat(means + each, groups, axis=0)
        names = np.repeat(np.arange(count), groups).astype(object)
        units = units_of(names, len(names))
        chosen = int(losses.mean(0).argmin())
        costs = np.zeros(len(means), np.int64)
        shares = choices_without(losses, costs, units, seed=seed, draws=120)
        plain.append(losses[:, chosen].mean() - means[chosen])
        corrected.append((shares * losses).sum(1).mean() - means[chosen])
    return np.array(plain), np.array(corrected)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_corrected_figure_is_unbiased_where_the_plain_one_flatters(groups):
    """Ten candidates of equal worth: the lowest of ten means is 1.54 standard errors too low."""
    plain, corrected = simulate(np.ones(10), groups=groups)
    noise = corrected.std() / len(corrected) ** 0.5
    assert plain.mean() == pytest.approx(-1.54 / 40**0.5, abs=0.03)
    assert abs(corrected.mean()) < 3 * noise < 0.06


def test_where_one_is_better_the_corrected_figure_is_a_little_modest():
    plain, corrected = simulate(np.array([0.7, *[1.0] * 9]))
    assert plain.mean() < -0.03
    assert -0.02 < corrected.mean() < 0.1


def test_an_image_is_judged_by_what_is_chosen_without_it():
    """One image alone decides between two candidates; it must not be judged by the one that it brings about."""
    losses = losses_of([0.0, *[1.0] * 9], [10.0, *[0.9] * 9])
    shares = choices_without(losses, np.array([0, 0]), single(10))
    assert shares[0] == pytest.approx([0, 1])
    assert shares[1:, 0].min() > 0.5
    assert choices_without(losses[:, :1], np.array([0]), single(10)) == pytest.approx(1)
    with pytest.raises(UsageError, match="losses must be finite"):
        choices_without(losses * np.nan, np.array([0, 0]), single(10))


# Folds.


def grouped_table(groups, labels):
    names = [md5(str(value).encode()).hexdigest() for value in range(len(labels))]
    columns = {"source": names, "hash": names, "label": [str(label) for label in labels], "group": list(groups)}
    return Table(make_samples(columns, len(labels)), tuple(sorted({str(label) for label in labels})))


def test_folds_are_stratified_and_never_split_a_group_or_a_set():
    generator = np.random.default_rng(0)
    groups = [f"g{number}" for number in generator.integers(0, 30, 90)] + [None] * 30
    table = grouped_table(groups, np.arange(120) % 3)
    table = replace(table, alike={table.samples["hash"][100]: "set", table.samples["hash"][101]: "set"})
    folds = fold_numbers(table, 5, 3)
    assert folds.shape == (3, 120)
    assert not np.array_equal(folds[0], folds[1])
    for row in folds:
        assert set(row) == set(range(5))
        for name in set(groups) - {None}:
            assert len(set(row[[group == name for group in groups]])) == 1
        assert row[100] == row[101]
        for label in range(3):
            counts = np.bincount(row[np.arange(120) % 3 == label], minlength=5)
            assert set(counts) <= set(range(4, 13))


def test_with_fewer_groups_there_are_fewer_folds():
    assert set(fold_numbers(grouped_table(["a", "b", "c"] * 4, np.arange(12) % 2), 5, 1)[0]) == {0, 1, 2}
    with pytest.raises(UsageError, match="number of folds"):
        fold_numbers(grouped_table(["a"] * 4, [0, 1, 0, 1]), 5, 1)


def test_groups_known_by_heart_help_nobody():
    """Features that name the group and labels drawn by group: whoever splits groups would be right every time."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 4)
    labels = generator.integers(0, 2, 40)[groups]
    features = (np.eye(40)[groups] + generator.normal(0, 0.01, (160, 40))).astype(np.float32)[:, None]
    whole = fold_numbers(grouped_table([f"g{group}" for group in groups], labels), 5, 1)
    split = np.arange(160)[None] % 5
    accuracy = {
        name: held_out_answers("neighbors", features, labels, folds, 2)[0].hits.mean()
        for name, folds in (("whole", whole), ("split", split))
    }
    assert accuracy["split"] == 1
    assert accuracy["whole"] < 0.7


# The climb.


def exam_of(labels, classes=4, repeats=2):
    generator = np.random.default_rng(3)
    folds = np.stack([generator.permutation(np.arange(len(labels)) % 5) for _ in range(repeats)])
    return Exam(labels, classes, folds, single(len(labels)))


def source_of(features, words="toy, 3 views", cost=10, spread=False):
    def give(watch):
        watch(len(features), len(features))
        return features

    return Source(words, {"backbone": words.split(",")[0], "views": "flip", "spread": spread}, cost, give)


def test_the_rungs_and_the_choice():
    features, labels = clouds(count=60)
    noise = np.random.default_rng(0).normal(0, 1, features.shape).astype(np.float32)
    told = []
    sources = [source_of(noise, "noise, 3 views", 5), source_of(features)]
    ladder = climb(sources, exam_of(labels, repeats=1), progress=told.append)
    assert [rung.words for rung in ladder.rungs] == [
        "majority class",
        *(f"{HEADS[name].words}, noise, 3 views" for name in LADDER[1:]),
        *(f"{HEADS[name].words}, toy, 3 views" for name in LADDER[1:]),
    ]
    assert ladder.left_out == ()
    fits = [message for message in told if message.phase == "prepare" and message.text.endswith(" fits")]
    of = len(HEADS["svm"].strengths) * 5  # folds
    [first, *_, last] = [message for message in fits if message.text.startswith("linear SVM, toy, 3 views: ")]
    assert (first.text, first.step, first.steps) == (f"linear SVM, toy, 3 views: 0 of {of} fits", 0, of)
    assert (last.text, last.step) == (f"linear SVM, toy, 3 views: {of} of {of} fits", of)
    assert ladder.best.settings["backbone"] == "toy"
    assert ladder.best.settings["head"] in LADDER[1:]
    assert ladder.best.settings["strength"] > 0
    majority = ladder.rungs[0]
    assert majority.log_loss.value == pytest.approx(np.log(4), abs=0.05)
    for rung in ladder.rungs:
        for figure in (rung.log_loss, rung.accuracy):
            assert figure.low < figure.value < figure.high
            assert figure.n == 60
            assert figure.method.endswith("corrected for the choice")
    assert ladder.accuracy.value > 0.6 > 0.4 > ladder.rungs[2].accuracy.value
    assert sum(message.phase == "note" for message in told) == len(ladder.rungs)
    content = json.loads(json.dumps(ladder.to_json()))
    assert content["rungs"][0]["accuracy"]["n"] == 60
    assert content["chosen"] == ladder.chosen
    assert content["reason"].startswith(ladder.best.words)


def test_a_rungs_figures_are_those_of_its_answers():
    """With one strength nothing is chosen, so the figures are plain means over images."""
    features, labels = clouds(count=60)
    exam = exam_of(labels)
    [rung] = climb([source_of(features)], exam, heads=("mean",)).rungs
    [answers] = held_out_answers("mean", features, labels, exam.folds, 4)
    assert rung.accuracy.value == pytest.approx(answers.hits.mean())
    assert rung.log_loss.value == pytest.approx(answers.loss.mean())
    assert rung.log_loss.value == pytest.approx(log_loss(labels, answers.probability, labels=range(4)), abs=0.05)


def test_what_tells_nothing_is_said_to_be_no_better_than_the_majority():
    said = "It is not better than the majority class by more than one standard error"
    labels = np.random.default_rng(0).integers(0, 3, 90)
    features = np.random.default_rng(1).normal(0, 1, (90, 1, 8)).astype(np.float32)
    ladder = climb([source_of(features)], exam_of(labels, 3))
    assert ladder.best.settings["head"] == "majority"
    assert said not in ladder.reason
    assert ladder.accuracy.low < np.bincount(labels).max() / 90 < ladder.accuracy.high
    features[np.arange(90), 0, labels] += 0.6
    weak = climb([source_of(features)], exam_of(labels, 3), heads=("majority", "mean"))
    assert weak.best.settings["head"] == "mean"
    assert said in weak.reason
    seen, classes = clouds(count=60)
    assert said not in climb([source_of(seen)], exam_of(classes), heads=("majority", "mean")).reason


def test_a_cheaper_backbone_is_taken_where_it_is_as_good():
    features, labels = clouds(count=60)
    twins = [source_of(features, "large, 3 views", 1000), source_of(features, "small, 3 views", 10)]
    ladder = climb(twins, exam_of(labels, repeats=1))
    assert ladder.best.settings["backbone"] == "small"


def test_the_whole_is_corrected_for_the_choice_of_a_backbone():
    """Ten backbones that see noise: the best of them is so by luck, and the headline says nothing of that luck."""
    labels = np.random.default_rng(0).integers(0, 3, 60)
    exam = exam_of(labels, 3)
    noise = [np.random.default_rng(seed).normal(0, 1, (60, 1, 8)).astype(np.float32) for seed in range(10)]
    ladder = climb([source_of(seen, f"noise {seed}") for seed, seen in enumerate(noise)], exam, heads=("mean",))
    losses = losses_of(*(held_out_answers("mean", seen, labels, exam.folds, 3)[0].loss for seen in noise))
    shares = choices_without(losses, np.zeros(10, np.int64), exam.units, exam.widen)
    assert ladder.chosen == losses.mean(0).argmin()
    assert ladder.best.log_loss.value == pytest.approx(losses.mean(0).min())
    assert ladder.log_loss.value == pytest.approx((shares * losses).sum(1).mean())
    assert ladder.log_loss.value > ladder.best.log_loss.value + 0.5 * losses.mean(0).std()


class Hours:
    """A clock that is moved by hand."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def test_it_stops_before_the_time_is_over():
    features, labels = clouds(count=60)
    hours = Hours()

    def slow(watch):
        for done in range(1, 101):
            hours.time += 1
            watch(done, 100)
        return features

    sources = [source_of(features), replace(source_of(features, "slow, 1 view", 20), features=slow)]
    ladder = climb(sources, exam_of(labels), clock=Clock(60, hours))
    assert [rung.words for rung in ladder.rungs][-1] == "logistic regression, toy, 3 views"
    assert ladder.left_out == ("All on slow, 1 view: there was no time for the features.",)
    assert ladder.seconds <= 2  # one step tells that a hundred do not fit
    hours.time = 0.0
    assert len(climb(sources, exam_of(labels), clock=Clock(120, hours)).rungs) == 9
    hours.time = 0.0
    late = Clock(60, hours)
    hours.time = 61.0
    with pytest.raises(UsageError, match="The time limit of 60 s was over before the first rung"):
        climb(sources, exam_of(labels), clock=late)


def test_a_rung_that_would_not_end_is_left_out(monkeypatch):
    features, labels = clouds(count=60)
    hours = Hours()
    path = HEADS["svm"].path

    def slow(*arguments):
        for head in path(*arguments):
            hours.time += 1
            yield head

    monkeypatch.setitem(HEADS, "svm", replace(HEADS["svm"], path=slow))
    ladder = climb([source_of(features)], exam_of(labels), clock=Clock(40, hours))
    assert ladder.left_out == ("linear SVM, toy, 3 views: there was no time for it.",)
    assert ladder.rungs[-1].settings["head"] == "logistic"
    assert ladder.seconds < 12  # one fold of ten told it


def test_means_are_not_left_out_once_the_features_are_there():
    """What is kept back may be more than is left; to leave out a rung of no time would save none."""
    features, labels = clouds(count=60)
    hours = Hours()

    def late(watch):
        hours.time += 70
        return features

    source = replace(source_of(features), features=late)
    ladder = climb([source], exam_of(labels), heads=("majority", "mean", "svm"), clock=Clock(60, hours))
    assert [rung.settings["head"] for rung in ladder.rungs] == ["majority", "mean"]
    assert ladder.left_out == ("linear SVM, toy, 3 views: there was no time for it.",)


def test_what_comes_before_the_first_features_says_nothing_of_their_pace():
    """To choose and to compile an engine takes seconds, and is done once."""
    features, labels = clouds(count=60)
    hours = Hours()

    def late(watch):
        hours.time += 10
        for done in range(1, 21):
            hours.time += 1
            watch(done, 20)
        return features

    source = replace(source_of(features), features=late)
    assert climb([source], exam_of(labels), heads=("mean",), clock=Clock(60, hours)).left_out == ()


@pytest.fixture
def hours(monkeypatch):
    """A clock on which every image takes a second to be read, and every strength of an SVM a second in each fold."""
    hours, read = Hours(), prepared_module.read_sample

    def slow_read(*given):
        hours.time += 1
        return read(*given)

    monkeypatch.setattr(prepared_module, "read_sample", slow_read)
    slow_svm(monkeypatch, hours)
    return hours


def slow_svm(monkeypatch, hours):
    """Have every strength of an SVM take a second in each fold."""
    path = HEADS["svm"].path

    def slow_path(*given):
        for head in path(*given):
            hours.time += 1
            yield head

    monkeypatch.setitem(HEADS, "svm", replace(HEADS["svm"], path=slow_path))


EYE = {"backbone": "tiny", "views": "center", "spread": False}


def climb_slowly(table, clock):
    return climb_table(table, [Eye(tiny_extractor("center"), EYE)], heads=("mean", "svm"), clock=clock, workers=1)


def test_slow_decoding_takes_rungs_away(tmp_path, hours):
    """54 s of decoding and 80 of fits; then the 18 validation images are to be decoded, which takes as long for each.

    The clock may have begun before the ladder, and what is decoded by now needs no time again.
    """
    table = shapes_table(tmp_path / "data")
    assert [len(table.part(name)) for name in ("train", "validation")] == [54, 18]
    ladder = climb_slowly(table, Clock(150, hours))
    assert hours.time == 62  # one fold of the SVM told it
    assert ladder.left_out == ("linear SVM, tiny, 1 view: there was no time for it.",)
    assert climb_slowly(table, Clock(150, hours)).left_out == ()
    assert climb_slowly(table, Clock(150, hours, started=hours.time - 65)).left_out == ladder.left_out


def test_time_is_kept_in_which_the_run_is_evaluated(tmp_path, monkeypatch):
    """Each look takes a second, and 80 the fits: 54 looks, 16 to time them, then 18 for features and 18 to evaluate.

    Features that are in the cache take no time; the evaluation sees its 18 images all the same.
    """
    hours, look = Hours(), TinyBackbone.features

    def slow_look(self, images):
        hours.time += len(images)
        return look(self, images)

    monkeypatch.setattr(TinyBackbone, "features", slow_look)
    slow_svm(monkeypatch, hours)
    table = shapes_table(tmp_path / "data")
    left_out = ("linear SVM, tiny, 1 view: there was no time for it.",)
    needed = 54 + 16 + 80 + 18 + 18
    assert climb_slowly(table, Clock((needed - 9) / 0.95, hours)).left_out == left_out
    needed -= 54 + 18
    assert climb_slowly(table, Clock((needed - 9) / 0.95, hours)).left_out == left_out
    assert climb_slowly(table, Clock((needed + 9) / 0.95, hours)).left_out == ()
    alone = Clock((needed - 16 - 18 + 9) / 0.95, hours)  # without a validation part there is nothing to evaluate
    assert climb_slowly(table.without("validation"), alone).left_out == ()


def test_a_choice_that_rests_on_nothing_says_so(tmp_path):
    """Each class is one group, so that whoever answers an image has seen nothing of its class."""
    table = hashed(read_table(write_shapes(tmp_path / "data", 6))).assign(part="train")
    eye = Eye(tiny_extractor("center"), EYE)
    alone = table.assign(group=table.samples["label"])
    said = "But no class has two training images that do not belong together, so each was answered by heads that had"
    assert said in climb_table(alone, [eye], heads=("majority", "mean")).reason
    first = alone.samples["group"].tolist()
    first[0] = "another day"
    assert said not in climb_table(table.assign(group=first), [eye], heads=("majority", "mean")).reason


def test_without_a_validation_part_no_time_is_kept_for_it(tmp_path, hours):
    table = shapes_table(tmp_path / "data")
    assert climb_slowly(table.without("validation"), Clock(150, hours)).left_out == ()


def test_decoding_that_would_not_end_is_stopped(tmp_path, hours):
    table = shapes_table(tmp_path / "data")
    with pytest.raises(UsageError, match=r"^The time limit of 40 s is too short to decode the 54 training images"):
        climb_slowly(table, Clock(40, hours))
    assert hours.time < 30  # a quarter told it, and some more were under way


def test_a_table_is_climbed_on_its_training_part(tmp_path):
    table = shapes_table(tmp_path / "data", 12)
    center, flip = tiny_extractor("center"), tiny_extractor("flip")
    eyes = [
        Eye(extractor, {"backbone": "tiny", "views": name, "spread": False})
        for name, extractor in (("center", center), ("flip", flip))
    ]
    ladder = climb_table(table, eyes)
    training = len(table.part("train"))
    assert ladder.accuracy.n == training
    assert (ladder.folds, ladder.repeats) == (5, 2)
    assert [rung.words for rung in ladder.rungs[1:6:4]] == [
        "nearest class mean, tiny, 1 view",
        "nearest class mean, tiny, 2 views",
    ]
    assert center.backbone.seen == training + 1  # and one image of zeros, for the cost
    assert flip.backbone.seen == training + 1  # its other view is known by then
    again = climb_table(table, eyes[::-1])  # the cheapest comes first, in whatever order they are given
    assert replace(again, seconds=0, rungs=()) == replace(ladder, seconds=0, rungs=())
    assert ladder.accuracy.value > ladder.rungs[0].accuracy.value


def test_where_one_image_can_be_read_there_are_no_folds_to_be_had(tmp_path):
    table = hashed(read_table(write_shapes(tmp_path / "data", 2))).assign(part="train")
    for source in table.samples["source"][1:]:
        Path(source).write_bytes(b"no image")
    table = hashed(table.assign(hash=[None] * len(table)))
    eye = Eye(tiny_extractor("center"), EYE)
    with pytest.raises(AloneError, match=r"none stands apart from the rest \(1\); give more images, or name the head"):
        climb_table(table, [eye], heads=("majority", "mean"))
    whole = hashed(read_table(write_shapes(tmp_path / "other", 2))).assign(part="train", group="one camera")
    with pytest.raises(AloneError, match=r"none stands apart from the rest \(6\)"):
        climb_table(whole, [eye], heads=("majority", "mean"))
    ladder = climb_table(whole.take([0, 2, 4]).assign(group=None), [eye], heads=("majority", "mean"))
    assert (ladder.accuracy.n, ladder.folds) == (3, 3)


def test_what_cannot_be_climbed_is_refused(tmp_path):
    table = hashed(read_table(write_shapes(tmp_path / "data", 4)))
    eye = Eye(Extractor(TinyBackbone(), "0" * 64, PREPROCESSING, tiny_extractor().views), {"spread": False})
    with pytest.raises(UsageError, match="no training part"):
        climb_table(table, [eye])
    with pytest.raises(UsageError, match="at least one backbone"):
        climb_table(table.assign(part="train"), [])
    with pytest.raises(UsageError, match="needs a label"):
        climb_table(table.assign(part="train", label=[None, *table.samples["label"][1:]]), [eye])
