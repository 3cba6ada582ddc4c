"""Verification: closed forms, folds, rates that pairs cannot resolve, and identities resampled."""

from __future__ import annotations

import numpy as np
import pytest

from scsc_lab import InputError
from scsc_lab.analysis.verification import Pairs, accuracy, best_threshold, draw_pairs, interval, roc, scores

IDENTITIES = np.repeat(np.arange(30), 6)


def pairs() -> Pairs:
    return draw_pairs(IDENTITIES, np.random.default_rng(0))


def test_pairs_are_balanced_and_stay_in_their_fold():
    drawn = pairs()
    same = IDENTITIES[drawn.first] == IDENTITIES[drawn.second]
    assert np.array_equal(same, drawn.is_genuine)
    assert (drawn.first != drawn.second).all()
    folds_of = {}
    for index, fold in zip(np.concatenate([drawn.first, drawn.second]), np.tile(drawn.fold, 2), strict=True):
        assert folds_of.setdefault(IDENTITIES[index], fold) == fold
    for fold in range(10):
        assert drawn.is_genuine[drawn.fold == fold].mean() == 0.5


def test_perfect_and_useless_embeddings():
    drawn, random = pairs(), np.random.default_rng(1)
    perfect = scores(np.eye(30, dtype=np.float32)[IDENTITIES], drawn)
    assert accuracy(perfect, drawn) == 100
    assert roc(perfect, drawn.is_genuine).equal_error_rate == 0
    useless = scores(random.normal(size=(180, 16)).astype(np.float32), drawn)
    assert accuracy(useless, drawn) == pytest.approx(50, abs=8)
    assert roc(useless, drawn.is_genuine).equal_error_rate == pytest.approx(50, abs=8)


def test_the_roc_of_normal_scores_has_its_closed_form():
    from scipy import stats

    random, count = np.random.default_rng(0), 200_000
    same = np.arange(2 * count) < count
    curve = roc(random.normal(size=2 * count) + 2 * same, same)
    assert curve.equal_error_rate == pytest.approx(100 * stats.norm.cdf(-1), abs=0.2)
    assert curve.tar_at(0.01) == pytest.approx(100 * stats.norm.sf(stats.norm.isf(0.01) - 2), abs=0.7)


def test_equal_scores_are_accepted_together():
    curve = roc(np.zeros(10), np.arange(10) < 5)
    assert curve.far.tolist() == curve.tar.tolist() == [0, 1]


def test_a_far_that_the_pairs_cannot_resolve_is_refused():
    curve = roc(np.random.default_rng(0).normal(size=2000), np.arange(2000) < 1000)
    curve.tar_at(0.01)
    with pytest.raises(InputError, match=r"a FAR of 0\.001 needs more than 1000 impostor pairs: from 0\.01 up"):
        curve.tar_at(0.001)


def test_each_fold_is_judged_at_the_others_threshold():
    same = np.tile([True, False], 20)
    fold = np.repeat(np.arange(10), 4)
    found = np.where(same, 0.8, 0.2)
    found[fold == 0] -= 0.5  # a fold whose own best threshold is another
    drawn = Pairs(np.zeros(40, int), np.zeros(40, int), same, fold)
    assert accuracy(found, drawn) == pytest.approx((9 * 100 + 50) / 10)


def test_the_interval_resamples_identities():
    drawn = pairs()
    random = np.random.default_rng(0)
    hard = random.random(30) < 0.4  # identities all of whose pairs go wrong together
    found = np.where(drawn.is_genuine, 0.9, 0.1) - 0.85 * (drawn.is_genuine & hard[IDENTITIES[drawn.first]])
    low, high = interval(found, drawn, IDENTITIES)
    right = np.mean((found >= 0.5) == drawn.is_genuine)
    of_pairs = 1.96 * 100 * np.sqrt(right * (1 - right) / len(found))
    assert low < 100 * right < high
    assert high - low > 2 * of_pairs


def test_too_few_identities():
    with pytest.raises(InputError, match="at least 20 identities"):
        draw_pairs(np.repeat(np.arange(5), 4), np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(12))
def test_tied_scores_have_scikit_learns_rates(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    count, levels = int(random.integers(40, 400)), int(random.integers(2, 12))
    same = random.random(count) < 0.5
    scores = (random.integers(levels, size=count) + random.integers(0, 3, count) * same) / 8
    far, tar, thresholds = metrics.roc_curve(same, scores, drop_intermediate=False)
    curve = roc(scores, same)
    assert curve.far == pytest.approx(far)
    assert curve.tar == pytest.approx(tar)
    right = [np.mean((scores >= threshold) == same) for threshold in thresholds]
    assert np.mean((scores >= best_threshold(scores, same)) == same) == pytest.approx(max(right))
    for rate in (0.1, 0.25, 0.5, *(share for share in far if 10 / curve.impostors <= share < 1)):
        if rate * curve.impostors >= 10:
            assert curve.tar_at(rate) == pytest.approx(100 * tar[far <= rate].max())
    gap = np.interp(curve.equal_error_rate / 100, far, 1 - tar)  # of a convex mix of two neighbouring thresholds
    crossing = np.flatnonzero(far >= 1 - tar)[0]
    assert min(far[crossing - 1], 1 - tar[crossing]) <= curve.equal_error_rate / 100 <= max(far[crossing], gap)


def test_rejecting_all_pairs_is_a_threshold():
    scores, same = np.array([0.9, 0.8, 0.7]), np.array([False, False, True])
    assert np.isinf(best_threshold(scores, same))
    assert best_threshold(np.zeros(3), same) == np.inf
    assert best_threshold(np.zeros(3), ~same) == 0


def test_equal_scores_are_judged_together():
    same = np.tile([True, False, False, True], 20)
    scores = np.where(same, 0.8, 0.2)
    scores[::4], scores[1::4] = 0.5, 0.5  # one genuine and one impostor pair of every four are tied
    drawn = Pairs(np.zeros(80, int), np.zeros(80, int), same, np.repeat(np.arange(10), 8))
    assert accuracy(scores, drawn) == 75
    assert np.mean((scores >= best_threshold(scores, same)) == same) == 0.75


def test_a_threshold_lies_between_neighbouring_numbers():
    low = 0.5
    scores, same = np.array([low, np.nextafter(low, 1)]), np.array([False, True])
    assert ((scores >= best_threshold(scores, same)) == same).all()


@pytest.mark.parametrize("spread", [0.6, 1.5])
def test_the_interval_is_as_wide_as_the_accuracy_varies(spread):
    accuracies, intervals = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        identities = np.repeat(np.arange(40), 6)
        centres, noise = random.normal(size=(40, 8)), np.exp(0.4 * random.normal(size=40))
        embeddings = centres[identities] + spread * noise[identities][:, None] * random.normal(size=(240, 8))
        drawn = draw_pairs(identities, random)
        cosines = scores(embeddings.astype(np.float32), drawn)
        accuracies.append(accuracy(cosines, drawn))
        intervals.append(interval(cosines, drawn, identities))
    low, high = np.array(intervals).T
    truth = np.mean(accuracies)
    assert 1.6 < np.mean(high - low) / 2 / np.std(accuracies) < 2.6
    assert np.mean((low < truth) & (truth < high)) > 0.88


def test_the_interval_of_a_faultless_network_is_no_point():
    drawn = pairs()
    low, high = interval(scores(np.eye(30, dtype=np.float32)[IDENTITIES], drawn), drawn, IDENTITIES)
    assert 80 < low < 95
    assert high == pytest.approx(100)


def test_identities_without_a_pair_do_not_narrow_the_interval():
    """A list of pairs may name few of the identities that there are images of."""
    random, drawn = np.random.default_rng(2), pairs()
    for embeddings in (np.eye(30, dtype=np.float32)[IDENTITIES], random.normal(size=(180, 8)).astype(np.float32)):
        expected = interval(scores(embeddings, drawn), drawn, IDENTITIES)
        more = np.concatenate([IDENTITIES, np.arange(30, 3000)])
        assert interval(scores(embeddings, drawn), drawn, more) == expected


def test_two_identities_have_an_interval():
    identities, index = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 3, 0, 1])
    few = Pairs(index, np.array([1, 4, 3, 4]), np.array([True, True, False, False]), np.array([0, 1, 0, 1]))
    low, high = interval(np.array([0.9, 0.8, 0.1, 0.95]), few, identities)
    assert 0 <= low <= high <= 100
