"""The rules of the house, held by every module."""

import ast
import re
import statistics
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "daflow"
BANNED = {"utils", "helpers", "common", "misc", "core", "base"}
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.relative_to(ROOT).as_posix())


def tree_of(path):
    return ast.parse(path.read_text())


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of tracked files")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def body_lines(function):
    """Return how many lines a function's body has, its docstring not counted."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def public_without_docstring(node, prefix=""):
    """Yield the names of public classes, functions and methods that say nothing of themselves."""
    for child in node.body:
        if not isinstance(child, (ast.ClassDef, *FUNCTIONS)) or child.name.startswith("_"):
            continue
        if ast.get_docstring(child) is None:
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from public_without_docstring(child, f"{prefix}{child.name}.")


@named(MODULES)
def test_that_no_module_is_longer_than_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


def test_that_half_the_modules_have_at_most_150_lines():
    lengths = [len(path.read_text().splitlines()) for path in MODULES if path.name != "__init__.py"]
    assert statistics.median(lengths) <= 150


@named(MODULES)
def test_that_no_function_body_is_longer_than_60_lines(path):
    functions = (node for node in ast.walk(tree_of(path)) if isinstance(node, FUNCTIONS))
    assert {f.name: body_lines(f) for f in functions if body_lines(f) > 60} == {}


def test_that_no_folder_or_module_has_a_name_that_says_nothing():
    parts = {part for path in MODULES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & BANNED


@named(MODULES)
def test_that_all_that_is_public_says_what_it_is(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    assert list(public_without_docstring(tree)) == []


@named(MODULES)
def test_that_nothing_prints(path):
    calls = (node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    assert not [func.lineno for func in calls if isinstance(func, ast.Name) and func.id == "print"]


def test_that_every_folder_of_the_package_is_one():
    folders = {path.parent for path in MODULES}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


# The package's own front door opens lazily: importing daflow must not import dask, xarray and zarr.
@named([path for path in MODULES if path.name == "__init__.py" and path.parent != PACKAGE])
def test_that_a_folder_s_init_only_offers_names(path):
    docstring, *rest = tree_of(path).body
    assert isinstance(docstring, ast.Expr)
    imports = [node for node in rest if isinstance(node, ast.Import | ast.ImportFrom)]
    others = [node for node in rest if node not in imports]
    assert all(isinstance(node, ast.Assign) and node.targets[0].id == "__all__" for node in others)
    if imports:
        offered = {alias.asname or alias.name for node in imports for alias in node.names}
        assert set(ast.literal_eval(others[0].value)) == offered - {"annotations"}


@named(TESTS)
def test_that_tests_are_named_after_the_law_that_they_test(path):
    tests = [n for n in ast.walk(tree_of(path)) if isinstance(n, FUNCTIONS) and n.name.startswith("test")]
    assert [n.name for n in tests if not n.name.startswith("test_that_")] == []
    assert tests or any(
        "Contract" in ast.dump(n) for n in ast.walk(tree_of(path)) if isinstance(n, ast.ClassDef)
    )


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in (line.split("#")[0].strip() for line in lines) if line]


def test_that_constraints_are_names_and_versions_and_no_addresses():
    assert [line for line in pinned() if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    names = [normal(line.split("==")[0]) for line in pinned()]
    assert len(set(names)) == len(names)


def test_that_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    names = {normal(re.match(r"[A-Za-z0-9._-]+", requirement).group()) for requirement in asked}
    assert names - {normal(line.split("==")[0]) for line in pinned()} - {project["name"]} == set()


def test_that_no_tracked_file_knows_the_machine_it_was_written_on():
    # Spelt in parts: this file is tracked as well.
    homes = re.compile(rb"(?<![\w.])/(?:ro" + rb"ot|home/[a-z][\w-]*|Users/[A-Za-z][\w-]*)/")
    found = [path.relative_to(ROOT).as_posix() for path in tracked() if homes.search(path.read_bytes())]
    assert found == []
