"""What a docstring becomes: plain English without signatures, parameters, code and markup."""

from __future__ import annotations

from pathlib import Path

from mrl_tutorial.tasks.task import normalized
from tools.harvest import docstrings
from tools.harvest.libraries import SourceFile, find_libraries

NUMPY = """sort(a, axis=-1)

Return a sorted copy of an ``array``, see `numpy.ndarray.sort`.

The order is *ascending* and ties keep their places [1]_, i.e. the sort is :ref:`stable <order>` by default::

    code(that) + vanishes

The **method** :meth:`~numpy.ndarray.sort` works in place. The weight is :math:`\\\\frac{a}{b}` here.

Parameters
----------
a : array_like
    The array that must not appear in the document at all.

Returns
-------
out : ndarray
    Neither must this.

Notes
-----
Sorting algorithms differ in speed, worst case and memory.

======  =====
kind    speed
======  =====
quick   1
======  =====

>>> np.sort([3, 1])
array([1, 3])

References
----------
.. [1] A book about sorting.
"""
GOOGLE = """
    Encode the input texts as vectors.

    Args:
        texts (`list[str]`): The texts that are left out.
        size: Neither is the size of it.

    Texts are cut at the model's limit, which is the longest that it was trained on.
    Use [`Trainer`] for training, as [the guide](https://x.org/y) says.

    ```python
    encode(["a"])
    ```

    Note:
        The order of the texts is kept in the result.

    Example::

        >>> encode(["a"])
    """


def test_numpydoc_becomes_plain_english():
    assert docstrings.split_docstring(NUMPY) == (
        "Return a sorted copy of an array, see sort.",
        # not the sentence that introduces code, nor the one with a formula
        "The method sort works in place. Sorting algorithms differ in speed, worst case and memory.",
    )


def test_google_style_becomes_plain_english():
    assert docstrings.split_docstring(GOOGLE) == (
        "Encode the input texts as vectors.",
        "Texts are cut at the model's limit, which is the longest that it was trained on. "
        "Use Trainer for training, as the guide says. The order of the texts is kept in the result.",
    )


def test_short_ones_and_templates_are_dropped():
    long = "This document is certainly long enough to be kept by the rule of twelve words."
    assert docstrings.split_docstring(f"Return the sum now.\n\n{long}")
    assert docstrings.split_docstring(f"Return the sum.\n\n{long}") is None  # 3 words
    assert docstrings.split_docstring("Return the sum now.\n\nThis is a document of only nine words here.") is None
    assert docstrings.split_docstring(f"Return the %(name)s of it.\n\n{long}") is None
    assert docstrings.split_docstring("") is None and docstrings.split_docstring(">>> 1 + 1\n2") is None


def test_document_never_repeats_the_query():
    query, document = docstrings.split_docstring(
        "Return the sum of the array.\n\nReturn the sum of the array. "
        "The sum of an empty array is zero, as one would expect it to be."
    )
    assert normalized(query) not in normalized(document) and document.startswith("The sum of an empty")


def test_long_documents_end_at_a_sentence():
    text = " ".join(f"The number {word} is a part of the long text." for word in "abcdefghijklmnopqrstuvwxyz")
    _, document = docstrings.split_docstring("Describe all of the letters.\n\n" + text, longest=50)
    assert document.endswith("long text.") and 40 <= len(document.split()) <= 50


def test_public_definitions_are_found_and_nothing_is_run(tmp_path):
    body = (
        '"""{0} is the first sentence of this.\n\n'
        'Here the document of {0} goes on for at least twelve words, all of it English.\n"""'
    )
    (tmp_path / "_hidden.py").write_text(
        'raise SystemExit("was run")\n'
        + f"class Public:\n    {body.format('Public class')}\n"
        + f"    def method(self):\n        {body.format('Public method')}\n"
        + f"    def _private(self):\n        {body.format('Private method')}\n"
        + f"def _no():\n    {body.format('Private function')}\n"
        + "add_docstr(torch.abs, r" + body.format("Compiled function") + ".format(x=1))\n",
        encoding="utf-8",
    )  # fmt: skip
    (tmp_path / "broken.py").write_text('def f(:\n    """x"""')
    records = docstrings.read_sources([SourceFile("lib", tmp_path, Path(name)) for name in ("_hidden.py", "broken.py")])
    assert [record[:3] for record in records] == [
        ("lib.Public", "lib", "lib"),
        ("lib.Public.method", "lib", "lib"),
        ("lib.abs", "lib", "lib"),
    ]


def test_real_text_is_plain_english():
    """A fixed few files of an installed library: the text that readers will see."""
    root = find_libraries()["sklearn"].root
    names = ("pipeline.py", "model_selection/_split.py")
    found = docstrings.read_sources([SourceFile("sklearn", root, Path(name)) for name in names])
    assert len(found) >= 8
    for name, _, _, query, document in found:
        assert len(query.split()) >= 4 and len(document.split()) >= 12, name
        for text in (query, document):
            assert not any(mark in text for mark in ("`", ">>>", "::", "----", ":class:", "http", "\n")), (name, text)
        assert normalized(query) not in normalized(document)
