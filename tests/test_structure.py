"""The house keeps its order: who may import whom, what library code may not do, and maps that are true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

import tenfold

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tenfold"
FILES = sorted(SOURCE.rglob("*.py"))

# What stands further down may import what stands further up. The lines that do not exist yet are DESIGN's.
HOUSE = """
    errors words files environment draws boxes estimate metrics recipe images split augment proposals models tasks looks
    run train evaluate transfer check detect translate tune explain report export serve sklearn keras commands __main__
""".split()

READS_RUNS_ONLY = {"report", "export", "serve"}
LIGHT = {"errors", "words", "files", "environment", "estimate", "recipe", "commands"}
"""What a command may import before it runs."""
DRAWERS = {"utils", "util", "helpers", "core", "common", "base", "misc", "registry", "engine"}


class Import(NamedTuple):
    file: Path
    line: int
    module: str
    names: tuple[str, ...]
    deferred: bool
    """Inside a function, or for type checkers only."""

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def nodes(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether it runs later than the module's own import."""
    for child in ast.iter_child_nodes(node):
        later = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        later = later or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")
        yield child, later
        yield from nodes(child, later)


@cache
def imports(file: Path) -> tuple[Import, ...]:
    found = []
    for node, deferred in nodes(tree(file)):
        if isinstance(node, ast.Import):
            found += [Import(file, node.lineno, alias.name, (), deferred) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            names = tuple(alias.name for alias in node.names)
            found.append(Import(file, node.lineno, node.module or "", names, deferred))
    return tuple(found)


def our_imports() -> list[Import]:
    """What the package imports of itself; the root file, whose names are for users, is not held to the order."""
    every = [item for file in FILES if file != SOURCE / "__init__.py" for item in imports(file)]
    return [item for item in every if item.module.split(".")[0] == "tenfold"]


def room(path_or_module: Path | str) -> str:
    """The file or folder of the house that a file, or a module's dotted name, belongs to."""
    if isinstance(path_or_module, Path):
        return path_or_module.relative_to(SOURCE).parts[0].removesuffix(".py")
    return path_or_module.split(".")[1]


def test_every_file_stands_in_the_house():
    assert {room(file) for file in FILES} - {"__init__"} <= set(HOUSE)


def test_nobody_imports_the_root():
    assert [str(item) for item in our_imports() if item.module == "tenfold"] == []


def test_a_module_imports_only_what_stands_above_it():
    wrong = [item for item in our_imports() if HOUSE.index(room(item.module)) > HOUSE.index(room(item.file))]
    assert [str(item) for item in wrong] == []


def test_what_reads_runs_imports_neither_train_nor_evaluate():
    readers = [item for item in our_imports() if room(item.file) in READS_RUNS_ONLY]
    assert [str(item) for item in readers if room(item.module) in {"train", "evaluate"}] == []


def test_what_comes_after_evaluate_takes_only_the_public_names_of_train():
    after = HOUSE[HOUSE.index("evaluate") + 1 :]
    reaching = [item for item in our_imports() if room(item.file) in after and room(item.module) == "train"]
    assert [str(item) for item in reaching if item.module != "tenfold.train"] == []


def test_commands_import_stages_inside_functions():
    commands = [item for item in our_imports() if room(item.file) in {"commands", "__main__"}]
    assert [str(item) for item in commands if not item.deferred and room(item.module) not in LIGHT] == []


def test_files_import_each_other_in_no_cycle():
    edges = {file: set(imported_files(file)) - {file} for file in FILES if file != SOURCE / "__init__.py"}
    while free := [file for file, targets in edges.items() if not targets & edges.keys()]:
        for file in free:
            del edges[file]
    assert [str(file.relative_to(SOURCE)) for file in edges] == []


def imported_files(file: Path) -> Iterator[Path]:
    """The files that `file` imports; `from package import module` is the module, a folder its __init__.py."""
    for item in imports(file):
        if item.module.startswith("tenfold."):
            for dotted in {item.module, *(f"{item.module}.{name}" for name in item.names)}:
                place = SOURCE.joinpath(*dotted.split(".")[1:])
                yield from (found for found in (place.with_suffix(".py"), place / "__init__.py") if found in FILES)


def test_every_library_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {distribution(line) for line in asked}
    sources = packages_distributions()
    for item in (item for file in FILES for item in imports(file)):
        top = item.module.split(".")[0]
        if top not in {"tenfold", "__future__", *sys.stdlib_module_names}:
            assert {distribution(name) for name in sources.get(top, [top])} & declared, f"{item}, which is not declared"


def distribution(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-")


def test_a_file_is_no_drawer_and_not_long():
    places = [file.relative_to(SOURCE) for file in FILES]
    assert [str(place) for place in places if DRAWERS & {*place.with_suffix("").parts}] == []
    lines = {str(place): len((SOURCE / place).read_text(encoding="utf-8").splitlines()) for place in places}
    assert {place: count for place, count in lines.items() if count > 400} == {}


def test_library_code_neither_speaks_nor_unpickles():
    assert [f"{file.relative_to(ROOT)} {wrong}" for file in FILES for wrong in forbidden(file)] == []


def forbidden(file: Path) -> Iterator[str]:
    """What the file calls or imports that it must not."""
    unsafe = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    yield from {item.module.split(".")[0] for item in imports(file)} & unsafe
    never = {"eval", "exec", "pd.read_pickle", "pandas.read_pickle"}
    if room(file) not in {"commands", "__main__"}:
        never |= {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit"}
    for call in (node for node, _ in nodes(tree(file)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        loads = name == "torch.load" and keywords.get("weights_only") != "True"
        if name in never or loads or keywords.get("allow_pickle", "False") != "False":
            yield f"calls {name} in line {call.lineno}"


def test_import_loads_no_library():
    code = "import sys, tenfold; print(*sorted({'numpy', 'pandas', 'torch', 'cyclopts', 'PIL'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_public_names_are_there():
    for name in tenfold.__all__:
        assert getattr(tenfold, name).__name__ == name
    assert set(dir(tenfold)) == {*tenfold.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'read_tables'"):
        _ = tenfold.read_tables


def file_map(text: str) -> list[tuple[str, str]]:
    """The (name, what it is for) lines of a file map."""
    return re.findall(r"^ *(\w+(?:\.py|/)) {2,}(.+)$", text, re.MULTILINE)


def test_the_file_maps_are_true_and_the_same():
    own = file_map(tenfold.__doc__ or "")
    entries = {path.name + "/" if path.is_dir() else path.name for path in SOURCE.iterdir()}
    assert {name for name, _ in own} == entries - {"py.typed", "__pycache__/"}
    assert [name.rstrip("/").removesuffix(".py") for name, _ in own[1:]] == [
        name for name in HOUSE if name + ".py" in entries or name + "/" in entries
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert file_map(readme.split("src/tenfold/\n")[1].split("```")[0]) == own


def test_nothing_names_a_machine_or_an_index():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs a git checkout to know which files are the project's")
    suspects = re.compile(
        r"(?:^|[\s\"'=(])/(?:work|root|home|Users)/|index-url|(?:pypi|pythonhosted)\.org", re.MULTILINE
    )
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.is_file() and file.suffix in {"", ".py", ".md", ".toml", ".txt", ".j2"} and file != Path(__file__):
            found = suspects.search(file.read_text(encoding="utf-8"))
            assert not found, f"{name} names a machine's own path or an index: {found and found.group().strip()}"
