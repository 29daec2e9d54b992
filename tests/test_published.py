"""The named policies: Tenfold's own, and the published ones against torchvision's."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest
from scipy import ndimage, stats

from tenfold.augment import published
from tenfold.augment.policy import Mix, Policy
from tenfold.augment.published import NAMED, find_policy, named_policy
from tenfold.augment.tree import Chain, ops_of
from tenfold.draws import draw_keys
from tenfold.errors import UsageError

needs_torchvision = pytest.mark.skipif(find_spec("torchvision") is None, reason="needs torchvision")

COUNT = 10_000
KEYS = draw_keys(0, 0, np.arange(COUNT, dtype=np.uint64))
SIZE = (331, 331)


@pytest.fixture(scope="module")
def photo():
    """uint8 [64, 64, 3]"""
    generator = np.random.default_rng(0)
    smooth = ndimage.zoom(generator.uniform(30, 225, (8, 8, 3)), (8, 8, 1), order=3)
    return np.clip(smooth + generator.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def test_every_name_gives_a_policy_of_that_name():
    for name in NAMED:
        assert named_policy(name).name == name
    with pytest.raises(UsageError, match="did you mean 'trivialaugment'"):
        named_policy("trivialaugmnt")


def test_a_policy_is_found_by_name_or_file(tmp_path):
    assert find_policy("light") == named_policy("light")
    changed = Policy("own", named_policy("light").ops)
    changed.write(tmp_path / "own.toml")
    assert find_policy(str(tmp_path / "own.toml")) == changed


def test_standard_is_what_training_from_scratch_did_before_there_were_policies():
    """Crop, rotation, shift and flip, then color, as the settings of [augment] were composed: a slow oracle."""
    policy = named_policy("standard")
    drawn = policy.draw(KEYS[:50], 96, 96, (80, 80))
    traced = [dict.fromkeys([name for name, _ in one]) for one in drawn.trace()]
    shift, crop, rotate, flip, saturation, brightness, contrast = drawn.done
    assert policy.mix == Mix(0.4, 1.0, -1.0)
    assert policy.fill == "reflect"
    for row in range(50):
        scale, aspect, left, top = (column[row] for column in crop.values)
        stretch = math.sqrt(aspect)
        width, height = min(math.sqrt(scale) * stretch, 1), min(math.sqrt(scale) / stretch, 1)
        angle = math.radians(rotate.values[0][row])
        sign = -1 if "flip" in traced[row] else 1
        x = (1 - width) * (2 * left - 1) - 2 * shift.values[0][row]
        y = (1 - height) * (2 * top - 1) - 2 * shift.values[1][row]
        cos, sin = math.cos(angle), math.sin(angle)
        unit = np.array([[cos * width * sign, -sin * height, x], [sin * width * sign, cos * height, y], [0, 0, 1]])
        to_unit = np.array([[2 / 80, 0, -1], [0, 2 / 80, -1], [0, 0, 1]])
        to_pixels = np.array([[48, 0, 48], [0, 48, 48], [0, 0, 1]])
        np.testing.assert_allclose(drawn.matrices[row], to_pixels @ unit @ to_unit, atol=1e-9)
        pixel = np.array([180.0, 90, 20])
        factor = 1 + saturation.values[0][row]
        wanted = pixel * factor + (pixel @ [0.299, 0.587, 0.114]) * (1 - factor)
        wanted = wanted * (1 + brightness.values[0][row])
        wanted = (wanted - 128) * (1 + contrast.values[0][row]) + 128
        np.testing.assert_allclose(drawn.color[row] @ [*pixel, 1], wanted, rtol=1e-4)
    assert 10 < len(flip.rows) < 40


@needs_torchvision
@pytest.mark.parametrize("name", ["randaugment", "trivialaugment", "augmix"])
def test_ops_and_ranges_are_torchvisions(name):
    from torchvision.transforms import v2

    theirs = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide, "augmix": v2.AugMix}[name]()
    space = theirs._AUGMENTATION_SPACE
    ours = [found for node in named_policy(name).ops for found in ops_of(node)]
    assert len(ours) == len(space)
    for op_name, (levels, signed) in space.items():
        values = levels(10 if name == "augmix" else 31, *SIZE)
        if name == "randaugment" and values is not None:
            values = values[9:10]
        if name == "augmix" and values is not None:
            values = values[:3]
        compare(op_name, values, signed, [op for op in ours if matches(op, op_name)])


@needs_torchvision
@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_subpolicies_are_torchvisions(name):
    from torchvision.transforms import v2

    theirs = v2.AutoAugment(v2.AutoAugmentPolicy[name.upper()])
    (choice,) = named_policy(f"autoaugment-{name}").ops
    assert (choice.low, choice.high) == (1, 1)
    assert len(choice.of) == len(theirs._policies)
    for chain, pair in zip(choice.of, theirs._policies, strict=True):
        assert isinstance(chain, Chain)
        for found, (op_name, probability, level) in zip(chain.of, pair, strict=True):
            levels, signed = theirs._AUGMENTATION_SPACE[op_name]
            values = levels(10, *SIZE)
            assert matches(found, op_name)
            assert found.probability == probability
            compare(op_name, None if values is None else values[level : level + 1], signed, [found])


def matches(found, op_name):
    """Whether an op of ours is that of this name: skew and shift once along x and once along y."""
    ours, parameter = published._NAMES[op_name]
    moving = [spec.name for spec, given in zip(found.kind.parameters, found.ranges, strict=True) if given.high != 0]
    return found.name in (ours, f"{ours}_pixels") and parameter in (
        *moving,
        "change",
        "",
        "bits",
        "threshold",
        "degrees",
    )


def compare(op_name, values, signed, found):
    """The op of ours can have the same values, and no other."""
    assert len(found) == 1, op_name
    if values is None:
        assert found[0].kind.parameters == () or op_name == "Invert"
        return
    names = [spec.name for spec in found[0].kind.parameters]
    given = found[0].ranges[names.index(published._NAMES[op_name][1])]
    scale = {"Solarize": 255, "TranslateX": 1 / 331, "TranslateY": 1 / 331}.get(op_name, 1)
    scale = 1 if found[0].name == "shift_pixels" else scale
    wanted = np.unique(values.double().numpy() * scale)
    ours = np.linspace(given.low, given.high, max(given.steps, 1))
    if op_name == "Posterize":
        ours = np.rint(ours)
    np.testing.assert_allclose(np.unique(ours), wanted, rtol=1e-5, atol=1e-6)
    assert given.signed == signed


@pytest.mark.parametrize(("name", "share"), [("randaugment", 2 / 14), ("trivialaugment", 1 / 14)])
def test_ops_are_chosen_evenly(name, share):
    drawn = named_policy(name).draw(KEYS, 32, 32)
    counts: dict[object, int] = {}
    for done in drawn.done:
        counts[done.op] = counts.get(done.op, 0) + len(done.rows)
    assert len(counts) == 14
    expected = COUNT * share
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert statistic < stats.chi2.ppf(0.999, 13)


@pytest.mark.parametrize("name", ["autoaugment-cifar10", "autoaugment-imagenet"])
def test_subpolicies_are_chosen_evenly_and_their_ops_as_often_as_they_say(name):
    policy = named_policy(name)
    wanted: dict[str, float] = {}
    for chain in policy.ops[0].of:
        for found in chain.of:
            wanted[found.name] = wanted.get(found.name, 0) + COUNT / 25 * found.probability
    counts = dict.fromkeys(wanted, 0)
    for done in policy.draw(KEYS, 32, 32).done:
        counts[done.op.name] += len(done.rows)
    for op_name, expected in wanted.items():
        assert counts[op_name] == pytest.approx(expected, abs=4 * math.sqrt(expected) + 1)


def test_the_weights_of_augmix_are_beta_and_dirichlet():
    drawn = named_policy("augmix").draw(KEYS, 32, 32)
    weights = drawn.steps[-1].weights
    np.testing.assert_allclose(weights.sum(1), 1)
    assert stats.kstest(weights[:, 0], "uniform").pvalue > 0.001  # Beta(1, 1)
    shares = weights[:, 1:] / weights[:, 1:].sum(1, keepdims=True)
    for copy in range(3):
        assert stats.kstest(shares[:, copy], stats.beta(1, 2).cdf).pvalue > 0.001  # one of three of Dirichlet(1)
    other = published.augmix(alpha=0.3).draw(KEYS, 32, 32).steps[-1].weights
    assert stats.kstest(other[:, 0], stats.beta(0.3, 0.3).cdf).pvalue > 0.001


@needs_torchvision
@pytest.mark.parametrize(
    "name", ["randaugment", "trivialaugment", "autoaugment-cifar10", "autoaugment-imagenet", "augmix"]
)
def test_changed_images_are_distributed_like_torchvisions(name, photo):
    """Mean and spread of the pixels, and how far they are from the image, over many draws of each."""
    import torch
    from torchvision.transforms import v2

    theirs = {
        "randaugment": v2.RandAugment(),
        "trivialaugment": v2.TrivialAugmentWide(),
        "autoaugment-cifar10": v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        "autoaugment-imagenet": v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
        "augmix": v2.AugMix(),
    }[name]
    count = 100 if name == "augmix" else 200
    torch.manual_seed(0)
    tensor = torch.from_numpy(photo).permute(2, 0, 1).contiguous()
    wanted = np.stack([theirs(tensor).permute(1, 2, 0).numpy() for _ in range(count)])
    found = named_policy(name).batch(np.repeat(photo[None], count, 0), KEYS[:count]).images
    for measure in (
        lambda x: x.mean((1, 2, 3)),
        lambda x: x.std((1, 2, 3)),
        lambda x: np.abs(x - photo).mean((1, 2, 3)),
    ):
        ours, other = (measure(images.astype(float)).round(0) for images in (found, wanted))
        assert stats.ks_2samp(ours, other).pvalue > 0.001


def test_settings_out_of_range_are_refused():
    with pytest.raises(UsageError, match="randaugment needs n from 0 to 64 and m from 0 to 30"):
        published.randaugment(m=31)
    with pytest.raises(UsageError, match="severity from 1 to 10, not 0"):
        published.augmix(severity=0)


def test_a_stronger_randaugment_changes_more(photo):
    images = np.repeat(photo[None], 60, 0)
    apart = [
        np.abs(published.randaugment(2, m).batch(images, KEYS[:60]).images.astype(int) - photo).mean() for m in (1, 20)
    ]
    assert apart[0] < apart[1] / 1.5
