"""Configuration files as tables, upon those of the files that they extend."""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app.settings import SettingsError


def named_tables(
    tables: dict[str, Any], key: str, path: Path
) -> Iterable[tuple[str, dict[str, Any]]]:
    """The tables [KEY.NAME] of a file, by name.

    Raises:
        SettingsError: there is something else of that key; file and key are named.
    """
    found = tables.get(key, {})
    if not (isinstance(found, dict) and all(isinstance(table, dict) for table in found.values())):
        raise SettingsError(f"{path}: {key!r} is {found!r}; tables [{key}.NAME] were wanted")
    return found.items()


def read_tables(path: Path, common: Sequence[str], above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tables of a file, upon those of the file that it extends.

    Args:
        common: the tables that are taken from there.
        above: the files that extend this one.

    Raises:
        SettingsError: a file can't be read, or one of these tables is none.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise SettingsError(f"{path}: not valid TOML ({error})") from error
    for kind in common:
        if not isinstance(tables.get(kind, {}), dict):
            raise SettingsError(f"{path}: {kind!r} is {tables[kind]!r}; a table was wanted")
    base = tables.pop("extends", None)
    if base is None:
        return tables
    above = (*above, path.resolve())
    if not isinstance(base, str) or (path.parent / base).resolve() in above:
        raise SettingsError(f"{path}: 'extends' is {base!r}; the path of another file was wanted")
    below = read_tables(path.parent / base, common, above)
    return _merge({k: v for k, v in below.items() if k in common}, tables)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged
