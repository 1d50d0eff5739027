"""The words of the command line: a parser that says in one line what to type instead, and the kinds of values."""

from __future__ import annotations

import argparse
import difflib
import re
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse, but what is wrong is said in one line, with what to type instead."""

    def __init__(self, **settings: Any) -> None:
        settings |= {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        choice = re.match(r"argument (.+?): invalid choice: (.+?) \(choose from (.+)\)", message)
        missing = re.match(r"the following arguments are required: (.+)", message)
        if choice:
            value, options = choice[2].strip("'"), [x.strip(" '") for x in choice[3].split(",")]
            close = difflib.get_close_matches(value, options, 2, 0.5)
            remedy = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(options)}"
            message = f"{'command' if choice[1] == 'COMMAND' else choice[1]}: there is no {value!r}: {remedy}"
        elif missing:
            message = f"{missing[1]} is missing"
        self.exit(2, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")

    def unknown(self, extras: list[str]) -> NoReturn:
        """Say which argument is not known, and the option that comes closest to it."""
        options = [o for action in self._actions for o in action.option_strings]
        word = extras[0].split("=")[0]
        close = difflib.get_close_matches(word, options, 1, 0.6) if word.startswith("-") else []
        self.error(f"{extras[0]!r} is not an option here" + (f": did you mean {close[0]}?" if close else ""))


def one_line(message: object) -> str:
    """`message` without line breaks."""
    return " ".join(str(message).split())


def cells(text: str) -> list[int] | str:
    """`all`, or whole numbers from 1 separated by commas."""
    if text == "all":
        return text
    try:
        return [whole_number(x.strip()) for x in text.split(",")]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers: write all, or e.g. 1,3,6") from None


def whole_number(text: str, least: int = 1) -> int:
    """A whole number from `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
    return int(text)


def seed(text: str) -> int:
    """A whole number from 0."""
    return whole_number(text, 0)


def learning_rate(text: str, what: str = "learning rate", example: str = "2e-5") -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}: write a number above 0, e.g. {example}")
    return value


def temperature(text: str) -> float:
    """A number above 0."""
    return learning_rate(text, "temperature", "0.05")


def rows(text: str) -> int | None:
    """`all`, or a whole number from 1."""
    return None if text == "all" else whole_number(text)


def learning_rates(text: str) -> list[float]:
    """Numbers above 0, separated by commas."""
    return [learning_rate(x) for x in text.split(",")]


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return _filled(text, text.split(","), "names: write e.g. pydocs,scifact")


def columns(text: str) -> list[str] | dict[str, str]:
    """Names of columns separated by commas, or pairs of a name that is known and the file's: text=body,label=topic."""
    found = names(text)
    if not any("=" in x for x in found):
        return found
    known = {ours.strip(): theirs.strip() for ours, _, theirs in (x.partition("=") for x in found)}
    if not all(known) or not all(known.values()):
        raise argparse.ArgumentTypeError(f"{text!r} names only some columns: write e.g. text=body,label=topic")
    return known


def recipe_names(text: str) -> list[str]:
    """Recipes separated by commas; a comma before a bare number belongs to a name: separate:3,128."""
    parts = re.split(r",(?!\s*\d+\s*(?:[,+]|$))", text)
    return _filled(text, parts, "recipes: write e.g. full-size,mrl,separate:3,128")


def _filled(text: str, parts: list[str], what: str) -> list[str]:
    found = [x.strip() for x in parts]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {what}")
    return found
