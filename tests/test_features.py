"""Frozen features: what the backbone gives, once for each image, view, preprocessing and weights."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from tenfold import environment
from tenfold.environment import torch_threads
from tenfold.errors import DataError, TrainingError, UsageError
from tenfold.images.cache import cache_entries, clear_cache
from tenfold.images.preprocess import Preprocessing
from tenfold.images.readers import read_table
from tenfold.models.views import VIEWS, cut_view, find_views
from tenfold.transfer import Extractor, engines, table_features
from tenfold.transfer import features as features_module
from tenfold.transfer.engines import Engine, choose_engine, is_same, onnx_engine, torch_engine
from tests.frozen import PREPROCESSING, TinyBackbone, expected_features, prepared_for, tiny_extractor
from tests.toys import save, scene, write_scenes

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TENFOLD_CACHE_GIB", raising=False)


@pytest.fixture
def folder(tmp_path):
    return write_scenes(tmp_path / "data", each=5)


def read(folder):
    return prepared_for(read_table(folder))


@pytest.mark.parametrize(("views", "crop"), [("center", 0), ("flip", 0), ("crops", 14), ("corners", 13)])
def test_features_are_the_backbones_in_the_order_of_the_rows(folder, views, crop):
    prepared, extractor = read(folder), tiny_extractor(views, crop=crop)
    found = table_features(prepared, extractor)
    assert found.dtype == np.float32
    assert found.shape == (10, len(VIEWS[views]), 12)
    np.testing.assert_allclose(found, expected_features(prepared, extractor), atol=1e-5)
    back = prepared_for(prepared.table.take(np.arange(10)[::-1]))
    assert np.array_equal(table_features(back, extractor), found[::-1])
    assert extractor.backbone.seen == 10 * len(VIEWS[views])


def test_they_are_computed_once_for_all_runs(folder):
    first, second = tiny_extractor(), tiny_extractor()
    found = table_features(read(folder), first)
    assert np.array_equal(table_features(read(folder), second), found)
    assert (first.backbone.seen, second.backbone.seen) == (20, 0)
    wider = tiny_extractor("center")
    assert np.array_equal(table_features(read(folder), wider)[:, 0], found[:, 0])
    assert wider.backbone.seen == 0  # one of the two views that are there


def test_only_what_changed_is_computed_again(folder):
    table_features(read(folder), tiny_extractor())
    save(folder / "cat" / "0.png", scene(999))
    (folder / "dog" / "0.png").rename(folder / "dog" / "renamed.png")
    changed = tiny_extractor()
    found = table_features(read(folder), changed)
    assert changed.backbone.seen == 2
    np.testing.assert_allclose(found, expected_features(read(folder), changed), atol=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        tiny_extractor(digest="1" * 64),
        Extractor(TinyBackbone(), "0" * 64, Preprocessing(**{**vars(PREPROCESSING), "size": 18}), VIEWS["flip"]),
        Extractor(TinyBackbone(), "0" * 64, Preprocessing(**{**vars(PREPROCESSING), "std": (1.0,) * 3}), VIEWS["flip"]),
        tiny_extractor(crop=18),
    ],
    ids=["weights", "size", "normalization", "crop"],
)
def test_other_weights_or_other_pixels_have_their_own(folder, other):
    table_features(read(folder), tiny_extractor())
    table_features(read(folder), other)
    assert other.backbone.seen == 20


def test_where_mean_and_deviation_come_from_does_not_matter():
    said = Preprocessing(**{**vars(PREPROCESSING), "origin": "somebody said so"})
    view = VIEWS["center"][0]
    assert Extractor(TinyBackbone(), "0" * 64, said, VIEWS["flip"]).key(view) == tiny_extractor().key(view)


def test_the_cache_shows_and_clears_them(folder):
    prepared = read(folder)
    before = len(cache_entries())
    table_features(prepared, tiny_extractor())
    entries = cache_entries()
    assert len(entries) == before + 2
    assert [entry.images for entry in entries] == [10] * len(entries)
    assert clear_cache() == sum(entry.bytes for entry in entries)
    again = tiny_extractor()
    table_features(read(folder), again)
    assert again.backbone.seen == 20


def test_a_damaged_file_is_computed_again(folder):
    prepared = read(folder)
    pixels = {entry.path for entry in cache_entries()}
    found = table_features(prepared, tiny_extractor("center"))
    [path] = [entry.path.with_suffix(".npy") for entry in cache_entries() if entry.path not in pixels]
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)
    again = tiny_extractor("center")
    assert np.array_equal(table_features(prepared, again), found)
    assert again.backbone.seen == 10


def test_without_a_cache_they_are_the_same(folder, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE_GIB", "0")
    without = tiny_extractor()
    found = table_features(read(folder), without)
    assert without.backbone.seen == 20
    assert not cache_entries()
    monkeypatch.delenv("TENFOLD_CACHE_GIB")
    np.testing.assert_allclose(found, table_features(read(folder), tiny_extractor()), atol=1e-6)


def test_what_was_stopped_goes_on(folder, monkeypatch):
    monkeypatch.setattr(features_module, "BLOCK", 4)
    heard = []

    def stop(done, of):
        heard.append((done, of))
        if done > 4:
            raise KeyboardInterrupt

    stopped = tiny_extractor()
    with pytest.raises(KeyboardInterrupt):
        table_features(read(folder), stopped, watch=stop)
    assert heard[0] == (4, 20)
    rest = tiny_extractor()
    table_features(read(folder), rest)
    assert rest.backbone.seen == 16


def test_two_processes_at_once(folder, tmp_path):
    code = "import sys; from tests.frozen import main; main(*sys.argv[1:])"
    outs = [tmp_path / "one.npy", tmp_path / "other.npy"]
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(folder), str(out)], cwd=root, env=environment) for out in outs
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    after = tiny_extractor("crops", crop=14)
    prepared = read(folder)
    expected = expected_features(prepared, after)
    for found in (*map(np.load, outs), table_features(prepared, after)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert after.backbone.seen == 0


def test_what_is_impossible_is_refused(folder):
    broken = tiny_extractor()
    torch.nn.init.constant_(broken.backbone.second.weight, float("nan"))
    with pytest.raises(DataError, match="The backbone tiny gives features that are no finite numbers"):
        table_features(read(folder), broken)
    with pytest.raises(UsageError, match=r"transfer\.crop must be from 0 to the image's size of 20 pixels, not 21"):
        tiny_extractor(crop=21)
    with pytest.raises(UsageError, match="needs the digest"):
        tiny_extractor(digest="")
    larger = Extractor(
        TinyBackbone(), "0" * 64, Preprocessing(**{**vars(PREPROCESSING), "canvas": 30}), VIEWS["center"]
    )
    with pytest.raises(UsageError, match="on 30 pixels a side, not on 22"):
        table_features(read(folder), larger)
    with pytest.raises(UsageError, match=r"transfer.views must be .* did you mean 'corners'"):
        find_views("corner")


def test_a_view_is_a_square_of_the_image():
    images = torch.arange(2 * 25.0).reshape(2, 1, 5, 5)
    shown = {name: [cut_view(images, view, 3)[0, 0].tolist() for view in views] for name, views in VIEWS.items()}
    middle = [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
    assert shown["center"] == [middle]
    assert shown["flip"] == [middle, [row[::-1] for row in middle]]
    assert shown["corners"][3] == [[12, 13, 14], [17, 18, 19], [22, 23, 24]]
    assert shown["corners"][4] == [[2, 1, 0], [7, 6, 5], [12, 11, 10]]
    assert sorted(map(str, shown["crops"])) == sorted(map(str, shown["flip"] + shown["corners"]))


def images_and_features(count=6):
    torch.manual_seed(0)
    images = torch.randn(count, 3, 20, 20).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        return images, TinyBackbone().eval().features(images)


def test_every_engine_gives_the_same():
    images, expected = images_and_features()
    for engine in (
        torch_engine(TinyBackbone(), CPU, torch.channels_last),
        torch_engine(TinyBackbone(), CPU, torch.contiguous_format),
        onnx_engine(TinyBackbone(), images),
    ):
        assert engine is not None
        torch.testing.assert_close(engine.look(images), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(engine.look(images[:3]), expected[:3], atol=1e-5, rtol=1e-4)


CUDA_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
MPS_FULL = RuntimeError("MPS backend out of memory (MPS allocated: 1.2 GB)")


class Large(TinyBackbone):
    """A backbone of which the memory holds no more than `most` images."""

    def __init__(self, most, error=CUDA_FULL):
        super().__init__()
        self.most, self.error, self.tried = most, error, []

    def features(self, images):
        self.tried.append(len(images))
        if len(images) > self.most:
            raise self.error
        return super().features(images)


@pytest.mark.parametrize("error", [CUDA_FULL, MPS_FULL], ids=["CUDA", "MPS"])
def test_what_the_memory_does_not_hold_is_halved_until_it_does(error):
    images, expected = images_and_features(13)
    large = Large(3, error)
    engine = torch_engine(large, CPU, torch.channels_last)
    torch.testing.assert_close(engine.look(images), expected, atol=1e-5, rtol=1e-4)
    assert large.tried == [13, 6, 3, 3, 3, 3, 1]
    large.tried.clear()
    torch.testing.assert_close(engine.look(images[:8]), expected[:8], atol=1e-5, rtol=1e-4)
    assert large.tried == [3, 3, 2]  # nothing that is known to be too large is tried again
    large.most = 1
    torch.testing.assert_close(engine.look(images[:2]), expected[:2], atol=1e-5, rtol=1e-4)
    assert engine.look(images[:0]).shape == (0, 12)


def test_features_of_a_table_are_the_same_where_the_memory_is_small(folder):
    prepared, small = read(folder), Extractor(Large(2), "0" * 64, PREPROCESSING, VIEWS["flip"])
    np.testing.assert_allclose(table_features(prepared, small), expected_features(prepared, small), atol=1e-5)


def test_a_memory_too_small_for_one_image_is_said_plainly():
    images, _ = images_and_features()
    sentence = r"^The memory of cpu is too small for one image at 20 px; set a smaller --size\.$"
    with pytest.raises(TrainingError, match=sentence):
        torch_engine(Large(0), CPU, torch.channels_last).look(images)
    elsewhere = torch_engine(Large(0), torch.device("meta"), torch.channels_last)
    with pytest.raises(TrainingError, match=r"memory of meta .* set a smaller --size, or give --device cpu\.$"):
        elsewhere.look(images)


def test_a_memory_too_small_for_the_network_is_said_plainly(monkeypatch):
    def full(*_):
        raise CUDA_FULL

    monkeypatch.setattr(TinyBackbone, "to", full)
    sentence = r"^The memory of meta is too small for the network tiny; end .* the memory, or give --device cpu\.$"
    with pytest.raises(TrainingError, match=sentence):
        torch_engine(TinyBackbone(), torch.device("meta"), torch.channels_last)


def test_other_errors_of_pytorch_pass():
    images, _ = images_and_features()
    large = Large(0, RuntimeError("size mismatch"))
    for given in (images, images[:1]):
        with pytest.raises(RuntimeError, match=r"^size mismatch$"):
            torch_engine(large, CPU, torch.channels_last).look(given)
    assert large.tried == [6, 1]


def test_onnx_runtime_gets_as_many_threads_as_a_container_is_allowed(monkeypatch):
    runtime = import_module("onnxruntime")
    given = []

    class Session(runtime.InferenceSession):
        def __init__(self, graph, options, **rest):
            given.append(options.intra_op_num_threads)
            super().__init__(graph, options, **rest)

    monkeypatch.setattr(runtime, "InferenceSession", Session)
    monkeypatch.setattr(environment, "cores", lambda: 2)
    with torch_threads(3):
        assert onnx_engine(TinyBackbone(), images_and_features()[0]) is not None
    assert given == [2]


def test_onnx_runtime_is_an_extra(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert onnx_engine(TinyBackbone(), images_and_features()[0]) is None


class Odd(TinyBackbone):
    """A backbone that no graph can hold."""

    def features(self, images):
        return torch.linalg.eigvals(images[:, :, :3, :3]).real.mean(1)


def test_a_graph_that_the_runtime_refuses_is_none(monkeypatch):
    runtime = import_module("onnxruntime")
    kind = import_module("onnxruntime.capi.onnxruntime_pybind11_state").Fail
    assert not issubclass(kind, (RuntimeError, ValueError))

    class Session(runtime.InferenceSession):
        def run(self, *given, **rest):
            raise kind("no such batch")

    monkeypatch.setattr(runtime, "InferenceSession", Session)
    assert onnx_engine(TinyBackbone(), images_and_features()[0]) is None


def test_a_backbone_that_cannot_be_exported_runs_in_pytorch():
    assert onnx_engine(Odd(), images_and_features()[0]) is None


@pytest.mark.parametrize(
    ("count", "factor", "slow", "expected"),
    [
        (10, 1.0, 0.0, "PyTorch, channels last"),  # done before a trial would be
        (10**9, 1.0, 0.0, "toy"),
        (10**9, 1.0 + 1e-2, 0.0, None),  # not the same
        (10**9, 1.0, 0.9, None),  # hardly quicker
    ],
)
def test_the_quickest_engine_that_gives_the_same_is_taken(monkeypatch, count, factor, slow, expected):
    images, features = images_and_features()

    def look(given):
        return features * factor

    monkeypatch.setattr(engines, "onnx_engine", lambda backbone, images: Engine("toy", look))
    monkeypatch.setattr(engines, "_seconds", lambda engine, images: 1.0 + slow if engine.name == "toy" else 2.0)
    name = choose_engine(TinyBackbone(), images, count, CPU).name
    assert name == expected if expected else name != "toy"


def test_what_is_the_same():
    wanted = torch.tensor([[1.0, -8.0], [0.0, 2.0]])
    assert is_same(wanted + 7e-4, wanted)
    assert not is_same(wanted + 9e-4, wanted)
    assert not is_same(wanted * float("nan"), wanted)
