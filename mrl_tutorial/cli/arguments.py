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
            what = "command" if choice[1] == "COMMAND" else choice[1]
            message = f"{what}: there is no {value!r}{suggest(value, options)}"
        elif missing:
            message = f"{missing[1]} is missing"
        self.exit(2, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")

    def unknown(self, extras: list[str]) -> NoReturn:
        """Say which argument is not known, and the option that comes closest to it."""
        options = [o for action in self._actions for o in action.option_strings]
        word = extras[0].split("=")[0]
        close = difflib.get_close_matches(word, options, 1, 0.6) if word.startswith("-") else []
        self.error(f"{extras[0]!r} is not an option here" + (f": did you mean {close[0]}?" if close else ""))


def suggest(value: str, options: list[str]) -> str:
    """The end of an error line: the closest options, else all of them."""
    close = difflib.get_close_matches(value, options, 2, 0.5)
    return f": did you mean {' or '.join(close)}?" if close else f": choose from {', '.join(options)}"


def one_line(message: object) -> str:
    """`message` without line breaks."""
    return " ".join(str(message).split())


def cells(text: str) -> list[int] | str:
    """`all`, or whole numbers from 1 separated by commas."""
    if text == "all":
        return text
    try:
        numbers = [int(x) for x in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers: write all, or e.g. 1,3,6")
    return numbers


def whole_number(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def seed(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def learning_rate(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate: write a number above 0, e.g. 2e-5")
    return value


def names(text: str) -> list[str]:
    """Names separated by commas."""
    found = [x.strip() for x in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names: write e.g. pydocs,scifact")
    return found


def recipe_names(text: str) -> list[str]:
    """Recipes separated by commas; a comma before a bare number belongs to a name: separate:3,128."""
    found = [x.strip() for x in re.split(r",(?!\s*\d+\s*(?:[,+]|$))", text)]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of recipes: write e.g. full-size,mrl,separate:3,128")
    return found
