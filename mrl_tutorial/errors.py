"""The exception for invalid input: it names the value and the remedy. Also settings whose names are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)


class InputError(ValueError):
    """Bad input. The message is one line: what was wrong, and what to give instead."""


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A dataclass of settings with some of them changed. Raises InputError for a name that it does not have."""
    known = [field.name for field in fields(settings)]
    for name in changes:
        if name not in known:
            raise InputError(f"there is no setting {name!r}: choose from {', '.join(known)}")
    return replace(settings, **changes)
