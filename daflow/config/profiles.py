"""Profiles: sections ``execution`` and ``policy`` in files of their own, one for each place to run at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from daflow.config.section import nearest
from daflow.config.yaml_text import Document, KeyPath, parse_document
from daflow.errors import ConfigError

VARIABLE: Final = "DAFLOW_PROFILES"
"""Names folders of profiles, with colons between them."""
SECTIONS: Final = ("execution", "policy")
"""What a profile may hold: a run's numbers do not depend on these."""
FORMS: Final = ("{name}.yaml", "{name}.yml", "{name}/profile.yaml")
"""Files in which a profile of a name may be."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile says, and where."""

    path: Path
    document: Document

    def on(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a workflow file says with this profile in place.

        Its ``execution`` takes the place of the file's as a whole; its ``policy`` key by key.
        """
        changed = dict(values)
        said = self.document.values
        if "execution" in said:
            changed["execution"] = said["execution"]
        if "policy" in said:
            before, new = changed.get("policy"), said["policy"]
            mappings = isinstance(before, Mapping) and isinstance(new, Mapping)
            changed["policy"] = {**before, **new} if mappings else new  # type: ignore[dict-item]
        return changed

    def where(self, key: KeyPath) -> str | None:
        """Return where the profile says a key, for messages; ``None``: it does not."""
        lines = self.document.lines
        line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), None)
        return None if line is None else f" ({self.path}, line {line})"


def load_profile(name: str, beside: Path) -> Profile:
    """Return the profile of a name, or in a file.

    Parameters
    ----------
    name
        A path, if it has a slash in it or ends with ``.yaml`` or ``.yml``; else a name, which is looked for
        in the folders of ``$DAFLOW_PROFILES``, in ``~/.config/daflow/profiles``, then beside the workflow:
        ``NAME.yaml``, ``NAME.yml`` or ``NAME/profile.yaml``.
    beside
        The workflow's folder.

    Raises
    ------
    daflow.errors.ConfigError
        There is no such profile, it cannot be read, or it says something else than where to run and what
        follows when something fails.
    """
    path = Path(name) if _is_path(name) else _found(name, beside)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--profile {name}: cannot be read",
            got=f"{path}: {error}",
            allowed="a YAML file with a section execution",
            do="name the file, or the profile",
        ) from None
    document = parse_document(text, str(path))
    others = [key for key in document.values if key not in SECTIONS]
    if others:
        line = document.lines[others[0],]
        near = nearest(others[0], SECTIONS)
        raise ConfigError(
            f"{path}: {others[0]} (line {line}): a profile has no such section"
            + ("" if near is None else f"; did you mean '{near}'?"),
            got=", ".join(others),
            allowed=", ".join(SECTIONS),
            do="a profile says where members run and what follows when some fail; the rest is the workflow's",
        )
    return Profile(path, document)


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith((".yaml", ".yml"))


def folders(beside: Path) -> list[Path]:
    """Return where profiles are looked for by their names, the first that has one wins."""
    named = [Path(part).expanduser() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [*named, config / "daflow" / "profiles", beside]


def _found(name: str, beside: Path) -> Path:
    looked = folders(beside)
    for folder in looked:
        for form in FORMS:
            path = folder / form.format(name=name)
            if path.is_file():
                return path
    there = sorted({known for folder in looked for known in names_in(folder)})
    near = nearest(name, there)
    raise ConfigError(
        f"--profile {name}: there is no such profile" + ("" if near is None else f"; did you mean '{near}'?"),
        got=f"no {', '.join(form.format(name=name) for form in FORMS)} in {', '.join(map(str, looked))}",
        allowed=", ".join(there) or "a path; there are no profiles in these folders",
        do=f"name a file, as --profile deploy/{name}/profile.yaml, or the folder of profiles by ${VARIABLE}",
    )


def names_in(folder: Path) -> Iterator[str]:
    """Yield the names of the profiles in a folder: YAML files with nothing but what a profile may say."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.suffix in {".yaml", ".yml"} and _is_profile(path):
                yield path.stem
            elif _is_profile(path / "profile.yaml"):
                yield path.name


def _is_profile(path: Path) -> bool:
    with suppress(OSError, UnicodeDecodeError, ConfigError):
        return "execution" in (said := parse_document(path.read_text(), str(path)).values) and not (
            said.keys() - set(SECTIONS)
        )
    return False
