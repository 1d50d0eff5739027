"""Panels: what they show (tables), how it is drawn (pictures as plain data), and the widgets around it."""
