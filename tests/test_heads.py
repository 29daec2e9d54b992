"""Heads hold scikit-learn's figures in tensors; strength and sharpness are chosen on images not fitted on."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from tenfold.errors import UsageError
from tenfold.models.heads import (
    HEADS,
    best_answers,
    can_hold_out,
    choose_strength,
    fit_head,
    fit_sharpness,
    held_out_answers,
    make_head,
)
from tenfold.models.heads.fits import fit_path
from tenfold.models.heads.sharpness import SHARPEST, SOFTEST

SHAPES = [(2, 6), (4, 6), (4, 90)]  # classes, features: with fewer and with more features than rows


def clouds(classes=4, width=6, count=48, views=3, spread=1.2, seed=0):
    """Features float32 [N, V, D] and labels int64 [N], the clouds of the classes overlapping."""
    generator = np.random.default_rng(seed)
    middles = 2 + generator.normal(0, 1, (classes, width)) * min(1, (6 / width) ** 0.5)
    labels = np.arange(count) % classes
    images = middles[labels] + generator.normal(0, spread / 2, (count, width))
    features = images[:, None] + generator.normal(0, spread / 4, (count, views, width))
    return features.astype(np.float32), labels


def unit(features, center):
    rows = features.astype(np.float64) - center
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def rows_of(features):
    """What a head is fitted to: the mean over the views of what is centered and of length 1."""
    return unit(features, features.astype(np.float64).mean((0, 1))).mean(1)


def logits(head, features):
    with torch.no_grad():
        return head(torch.from_numpy(features)).double().numpy()


@pytest.mark.parametrize(("classes", "width"), SHAPES)
@pytest.mark.parametrize("name", ["logistic", "softmax"])
@pytest.mark.parametrize("strength", [1e-1, 1e-3])
def test_logistic_regression_has_scikit_learns_probabilities(name, classes, width, strength):
    features, labels = clouds(classes, width)
    oracle = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-9, max_iter=10_000)
    expected = oracle.fit(rows_of(features), labels).predict_proba(rows_of(features))
    found = softmax(logits(fit_head(name, features, labels, classes, strength), features), axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize(("classes", "width"), SHAPES)
@pytest.mark.parametrize("name", ["svm", "ridge"])
def test_scores_are_scikit_learns(name, classes, width):
    features, labels = clouds(classes, width)
    rows, strength = rows_of(features), 3e-3
    oracle = {
        "svm": LinearSVC(C=1 / (strength * len(labels)), dual=False, tol=1e-8),
        "ridge": RidgeClassifier(alpha=strength * len(labels)),
    }[name]
    expected = oracle.fit(rows, labels).decision_function(rows)
    found = logits(fit_head(name, features, labels, classes, strength), features)
    np.testing.assert_allclose(found[:, 1] - found[:, 0] if classes == 2 else found, expected, atol=2e-3)


def test_the_nearest_mean_is_scikit_learns():
    features, labels = clouds()
    expected = NearestCentroid().fit(rows_of(features), labels).predict(rows_of(features))
    assert np.array_equal(logits(fit_head("mean", features, labels, 4, 1.0), features).argmax(1), expected)


@pytest.mark.parametrize("neighbors", [1, 5, 20])
def test_neighbors_vote_as_scikit_learns_do(neighbors):
    features, labels = clouds()
    others, _ = clouds(seed=1)
    head = fit_head("neighbors", features, labels, 4, neighbors, spread=True)
    rows = unit(others, features.astype(np.float64).mean((0, 1))).mean(1)
    shares = KNeighborsClassifier(neighbors).fit(rows_of(features), labels).predict_proba(rows)
    assert np.array_equal(head.votes(torch.from_numpy(rows).float()).numpy(), (shares * neighbors).round())
    expected = (shares * neighbors + 1) / (neighbors + 4)
    np.testing.assert_allclose(softmax(logits(head, others), axis=1), expected, atol=1e-6)


def test_the_majority_is_the_frequencies_by_laplaces_rule():
    features, labels = clouds(count=10)
    found = softmax(logits(fit_head("majority", features, labels, 5, 1.0), features), axis=1)
    np.testing.assert_allclose(found, np.tile([4 / 15, 4 / 15, 3 / 15, 3 / 15, 1 / 15], (10, 1)), atol=1e-6)


def test_views_may_be_rows_of_their_own():
    features, labels = clouds()
    rows = unit(features, features.astype(np.float64).mean((0, 1)))
    oracle = LogisticRegression(C=1 / (1e-3 * 3 * len(labels)), tol=1e-9, max_iter=10_000)
    oracle.fit(rows.reshape(-1, 6), np.repeat(labels, 3))
    head = fit_head("logistic", features, labels, 4, 1e-3, spread=True)
    np.testing.assert_allclose(softmax(logits(head, features), axis=1), oracle.predict_proba(rows.mean(1)), atol=2e-3)


@pytest.mark.parametrize("name", HEADS)
def test_a_path_is_its_single_fits(name):
    features, labels = clouds(width=90)
    strengths = HEADS[name].strengths[:4]
    for strength, head in zip(strengths, fit_path(name, features, labels, 4, strengths), strict=True):
        alone = fit_head(name, features, labels, 4, strength)
        found, expected = (softmax(logits(one, features), axis=1) for one in (head, alone))
        np.testing.assert_allclose(found, expected, atol=1e-2)  # as exact as the fits


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_weak_penalties_are_fitted_to_the_end_too(name):
    """Of rows of length 1 the gradient is small long before a weakly penalized fit has ended."""
    features, labels = clouds(classes=5, width=150, count=300, views=1, spread=6)
    seen, held, own, others = features[:250], features[250:], labels[:250], labels[250:]
    strengths = HEADS[name].strengths
    with threadpool_limits(1):
        for strength, head in zip(strengths, fit_path(name, seen, own, 5, strengths), strict=True):
            rows = rows_of(seen)
            exact = LogisticRegression(C=1 / (strength * len(rows)), tol=1e-7, max_iter=100_000).fit(rows, own)
            shown = unit(held, seen.astype(np.float64).mean((0, 1))).mean(1)
            found = softmax(logits(head, held), 1)
            losses = [log_loss(others, given) for given in (found, exact.predict_proba(shown))]
            assert losses[0] == pytest.approx(losses[1], rel=0.01), strength


@pytest.mark.parametrize("name", HEADS)
def test_tensors_are_all_that_is_kept(name):
    features, labels = clouds()
    head = fit_head(name, features, labels, 4, HEADS[name].strengths[0], sharpness=1.5)
    assert not any("sklearn" in type(value).__module__ for part in head.modules() for value in vars(part).values())
    again = make_head(name, 6, 4, HEADS[name].strengths[0])
    again.load_state_dict(head.state_dict())
    assert np.array_equal(logits(again, features), logits(head, features))


@pytest.mark.parametrize("name", HEADS)
def test_a_class_without_images_is_never_the_answer(name):
    features, labels = clouds(classes=3)
    found = logits(fit_head(name, features, 2 * labels, 6, HEADS[name].strengths[-1]), features)
    assert np.isfinite(found).all()
    assert set(found.argmax(1)) <= {0, 2, 4}


@pytest.mark.parametrize("name", HEADS)
def test_one_class_alone_is_the_answer(name):
    features, labels = clouds()
    found = logits(fit_head(name, features, np.full_like(labels, 2), 4, 1.0), features)
    assert (found.argmax(1) == 2).all()


def test_what_cannot_be_fitted_is_refused():
    features, labels = clouds()
    with pytest.raises(UsageError, match=r"strength and transfer\.sharpness must be above 0"):
        fit_head("logistic", features, labels, 4, 0.0)
    with pytest.raises(UsageError, match=r"must be one of .* did you mean 'logistic'"):
        fit_head("logistics", features, labels, 4, 1.0)
    with pytest.raises(UsageError, match=r"features must be \[N, V, D\]"):
        fit_head("logistic", features[:, 0], labels, 4, 1.0)


def test_the_sharpness_minimizes_the_cross_entropy_with_platts_targets():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 40)
    scores = 0.2 * np.eye(3)[labels] + generator.normal(0, 0.2, (40, 3))
    targets = (1 + 40 * np.eye(3)[labels]) / 43

    def entropy(logarithm):
        return -(targets * log_softmax(np.exp(logarithm) * scores, axis=1)).sum(1).mean()

    expected = np.exp(minimize_scalar(entropy, bounds=(-5, 8), method="bounded", options={"xatol": 1e-6}).x)
    assert fit_sharpness(scores, labels) == pytest.approx(expected, rel=1e-3)
    assert fit_sharpness(scores + 100, labels) == pytest.approx(expected, rel=1e-3)


def test_the_sharpness_stays_finite_and_positive():
    labels = np.array([0, 1, 2, 0])
    assert SOFTEST < fit_sharpness(np.eye(3)[labels], labels) < SHARPEST
    assert fit_sharpness(-np.eye(3)[labels], labels) == SOFTEST
    assert fit_sharpness(np.zeros((4, 3)), labels) == SOFTEST
    with pytest.raises(UsageError, match="scores must be finite"):
        fit_sharpness(np.full((4, 3), np.nan), labels)


def test_answers_are_those_of_heads_fitted_without_the_fold():
    features, labels = clouds(count=40)
    folds = np.stack([np.arange(40) // 8, np.random.default_rng(0).permutation(40) % 4])
    found = held_out_answers("logistic", features, labels, folds, 4)
    assert [answers.strength for answers in found] == list(HEADS["logistic"].strengths)
    place = 2
    expected = np.zeros((2, 40, 4))
    for repeat, fold_of in enumerate(folds):
        for fold in np.unique(fold_of):
            out = fold_of == fold
            center = features[~out].astype(np.float64).mean((0, 1))
            oracle = LogisticRegression(C=1 / (found[place].strength * (~out).sum()), tol=1e-9, max_iter=10_000)
            oracle.fit(unit(features[~out], center).mean(1), labels[~out])
            expected[repeat, out] = oracle.predict_proba(unit(features[out], center).mean(1))
    np.testing.assert_allclose(found[place].probability, expected.mean(0), atol=1e-2)  # as exact as the fits
    losses = [log_loss(labels, one, labels=range(4)) for one in expected]
    assert found[place].loss.mean() == pytest.approx(np.mean(losses), abs=5e-3)
    assert found[place].hits.mean() == pytest.approx(np.mean(expected.argmax(2) == labels), abs=0.03)
    assert best_answers(found).loss.mean() == min(answers.loss.mean() for answers in found)


@pytest.mark.parametrize("name", ["mean", "svm", "ridge"])
def test_margins_become_probabilities_that_are_right(name):
    """As sharp as held-out answers allow: no better sharpness is found in hindsight by more than a little."""
    features, labels = clouds(count=200, spread=2.0)
    folds = np.arange(200)[None] // 4 % 5
    own = best_answers(held_out_answers(name, features, labels, folds, 4))
    others, truth = clouds(count=2000, spread=2.0)
    others, truth = others[200:], truth[200:]
    head = fit_head(name, features, labels, 4, own.strength)
    scores = logits(head, others)

    def loss(sharpness):
        return log_loss(truth, softmax(sharpness * scores, axis=1), labels=range(4))

    best = minimize_scalar(lambda logarithm: loss(np.exp(logarithm)), bounds=(-4, 6), method="bounded").fun
    assert loss(own.sharpness) < best + 0.02
    assert own.loss.mean() == pytest.approx(loss(own.sharpness), abs=0.15)


def test_folds_and_stops():
    features, labels = clouds()
    with pytest.raises(UsageError, match=r"folds must be \[R, N\]"):
        held_out_answers("mean", features, labels, np.zeros((1, len(labels)), np.int64), 4)
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == 3:
            raise KeyError

    with pytest.raises(KeyError):
        held_out_answers("svm", features, labels, np.arange(len(labels))[None] % 3, 4, before_fit=stop)


# A strength where no ladder has chosen one.


@pytest.mark.parametrize("name", HEADS)
def test_of_one_image_a_class_the_strongest_head_is_taken(name):
    """Nothing can be held out; that there are many copies of the one image changes nothing of that."""
    features, labels = clouds(count=4)
    alone = choose_strength(name, features, labels, 4)
    copies = np.repeat(features, 3, axis=0)
    found = choose_strength(name, copies, np.repeat(labels, 3), 4, groups=np.repeat(np.arange(4), 3))
    for answers in (alone, found):
        assert (answers.strength, answers.sharpness) == (HEADS[name].strengths[0], 1.0)
        assert answers.probability.shape == (0, 4)
        assert answers.loss.shape == answers.hits.shape == (0,)
    assert choose_strength(name, features, labels, 4, strengths=(2.0,)).strength == 2.0
    head = fit_head(name, features, labels, 4, alone.strength, sharpness=alone.sharpness)
    if name != "majority":
        assert (logits(head, features).argmax(1) == labels).all()


@pytest.mark.parametrize("seed", range(20))
def test_what_can_be_held_out_is_what_two_groups_of_a_class_show(seed):
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 7))
    labels, groups = generator.integers(0, 4, count), generator.integers(0, 4, count)
    pairs = [(one, other) for one in range(count) for other in range(one)]
    apart = any(labels[one] == labels[other] and groups[one] != groups[other] for one, other in pairs)
    assert can_hold_out(labels, groups) == apart


def test_a_strength_is_chosen_with_groups_whole():
    """Noise, each row there again: who fits the one and answers the other finds the weakest penalty best."""
    generator = np.random.default_rng(0)
    features, labels = generator.normal(0, 1, (40, 1, 60)).astype(np.float32), np.tile([0, 1], 20)
    twice, both, groups = np.repeat(features, 2, axis=0), np.repeat(labels, 2), np.repeat(np.arange(40)[::-1], 2)
    alone = choose_strength("logistic", features, labels, 2)
    found = choose_strength("logistic", twice, both, 2, groups=groups)
    assert found.strength == alone.strength  # rows that are there twice change no fit
    np.testing.assert_allclose(found.loss, np.repeat(alone.loss, 2), atol=1e-2)  # as exact as the fits
    assert choose_strength("logistic", twice, both, 2).strength < found.strength
    images = np.tile([True, False], 40)
    again = choose_strength("logistic", twice, both, 2, images=images, groups=groups)
    assert again.loss.tolist() == alone.loss.tolist()


def test_a_group_of_two_classes_is_in_one_fold():
    features, labels = clouds(classes=2, count=6)
    groups = np.array([7, 7, 7, 8, 8, 8])  # each of them of both classes
    found = choose_strength("mean", features, labels, 2, groups=groups)
    expected = best_answers(held_out_answers("mean", features, labels, (groups == 8).astype(np.int64)[None], 2))
    assert found.loss.tolist() == expected.loss.tolist()
    assert len(choose_strength("mean", features, labels, 2, groups=np.zeros(6, np.int64)).loss) == 0


@pytest.mark.parametrize(
    ("inside", "folds"),
    [
        (["A", "AB", "AC"], {"A": 0, "B": 1, "C": 1}),
        (["A", "B", "AB"], {"A": 0, "B": 1}),  # those that are in one group each must not settle it
        (
            ["AB", "CBD", "EFGHIJ"],
            dict(zip("ABCDEFGHIJ", (0, 1, 0, 2, 0, 1, 2, 3, 4, 0), strict=True)),
        ),
    ],
)
def test_a_class_of_several_groups_is_in_several_folds_whatever_they_share(inside, folds):
    labels = np.array([label for label, names in enumerate(inside) for _ in names for _ in range(2)])
    groups = [name for names in inside for name in names for _ in range(2)]
    features = np.random.default_rng(0).normal(0, 1, (len(labels), 1, 4)).astype(np.float32)
    found = choose_strength("mean", features, labels, 3, groups=np.array([ord(name) for name in groups]))
    dealt = np.array([folds[name] for name in groups])
    expected = best_answers(held_out_answers("mean", features, labels, dealt[None], 3))
    assert found.loss.tolist() == expected.loss.tolist()
    assert len(found.loss) == len(labels)
