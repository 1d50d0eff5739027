"""The course as a static web site: every notebook as a page in which the panels are alive. `python -m tools.site`.

nbconvert turns a notebook into html with a template of our own (`look/course/`). Jupyter Book would bring its own
theme, but it wants node, fetches the theme from the network, and has no place for panels that are html pages of their
own. A page of this site loads nothing from another host: formulas are MathML, figures are the static pictures of the
notebooks, fonts are the reader's, and the search index is a script, so that all of it works from a folder as well.
"""
