from importlib.metadata import PackageNotFoundError, version

from daflow.assemble import environment as module
from daflow.assemble.environment import differences, environment


def test_that_a_package_that_makes_other_bits_is_named_installed_or_not(monkeypatch):
    there = environment()
    assert there["numba"] == version("numba")

    def without_numba(package):
        if package == "numba":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(module, "version", without_numba)
    assert differences(there, environment()) == [f"numba: {there['numba']} then, absent now"]
