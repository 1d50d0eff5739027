"""Checks of the lessons' exercises, a file a lesson. A notebook imports its own as `check`; every check returns a
`Verdict` and never raises."""
