"""What a check tells the reader, and how a check is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")


@dataclass(frozen=True)
class Verdict:
    """What a check found; true where the exercise is solved. A notebook shows its sentence.

    >>> Verdict(False, "the result must be one number.")
    Not yet: the result must be one number.
    """

    solved: bool
    sentence: str

    def __bool__(self) -> bool:
        return self.solved

    def __repr__(self) -> str:
        return f"{'Right' if self.solved else 'Not yet'}: {self.sentence}"


def exercise(praise: str) -> Callable[[Callable[P, str | None]], Callable[P, Verdict]]:
    """Decorate a function that says what is still wrong, or None: it then returns a Verdict, and never raises.

    praise: the sentence of a solved exercise.

    >>> @exercise("an even number ends in 0, 2, 4, 6 or 8.")
    ... def even(function):
    ...     return None if function(3) is False else "3 is not even."
    >>> even(lambda n: n % 2 == 0)
    Right: an even number ends in 0, 2, 4, 6 or 8.
    >>> even(lambda n: n / 0)
    Not yet: your code stopped with ZeroDivisionError: division by zero
    """

    def decorate(check: Callable[P, str | None]) -> Callable[P, Verdict]:
        @wraps(check)
        def run(*args: P.args, **kwargs: P.kwargs) -> Verdict:
            try:
                problem = check(*args, **kwargs)
            except NotImplementedError:
                problem = "the stub is still there; replace the line that raises NotImplementedError."
            except Exception as error:  # whatever the reader's code raises is shown as a sentence
                problem = f"your code stopped with {type(error).__name__}: {error}"
            return Verdict(problem is None, problem or praise)

        return run

    return decorate
