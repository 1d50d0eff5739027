"""A widget without a face that keeps plotly figures as wide as the panel they are in."""

from __future__ import annotations

import anywidget

# plotly measures its container when it draws, which may be before the notebook has laid it out, and then only when the
# window changes its size; the panel changes its own width also when a side bar opens
FIT = """
export default {
  render({ el }) {
    el.style.width = "100%";
    const fit = () => window.dispatchEvent(new Event("resize"));
    const size = new ResizeObserver(fit);
    size.observe(el);
    const timers = [100, 500, 1500, 4000].map((after) => setTimeout(fit, after));
    return () => { size.disconnect(); timers.forEach(clearTimeout); };
  },
};
"""


class Fit(anywidget.AnyWidget):
    """Put one into the box that holds the figures; they need `responsive` in their configuration."""

    _esm = FIT
