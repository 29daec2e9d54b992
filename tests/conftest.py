"""Fixtures that several test files share."""

import importlib.util
import os
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from tenfold.looks import ledger_above


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a ledger above the folders that tests work in, as looks would count in it; a core for each worker."""
    work = Path(config.getoption("basetemp") or tempfile.gettempdir())
    if (ledger := ledger_above(work / "tests" / "run")).is_file():
        raise pytest.UsageError(
            f"{ledger} holds looks at images, which the tests' runs below it would share: move it away, or name "
            "another folder for temporary files in TMPDIR."
        )
    if config.getoption("numprocesses", None):  # threads beyond its core would wait for each other, spinning
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets that lie beside a developer's checkout; tests that need them skip elsewhere."""
    folder = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the data sets in {folder} (set TENFOLD_DATA)")
    return folder


@pytest.fixture(scope="session")
def theirs() -> ModuleType:
    """Keras' own preprocessing of images, which `tenfold.keras` is held against."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("needs Keras, to compare with")
    os.environ.setdefault("KERAS_BACKEND", "torch" if importlib.util.find_spec("torch") else "numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from keras.src.legacy.preprocessing import image
    return image
