"""The size calculator without a browser: its bars and its line of words are those of the arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.size_calculator import COUNTS, PRESETS, WIDTHS, SizeCalculator
from mrl_tutorial.retrieval.sizes import TYPES, Size


@pytest.fixture
def panel():
    return SizeCalculator()


def test_starts_with_ten_million_vectors_that_no_laptop_holds(panel):
    assert panel.figure.data[0].text[0] == "30.72 GB"
    assert "30.72 GB" in panel.note.value and "laptop" not in panel.note.value


def test_presets_show_both_known_sizes(panel):
    assert [b.description for b in panel.presets] == list(PRESETS)
    panel.presets[1].click()
    assert panel.size == Size(10_000_000, 1024, 1024, depth=200)
    assert panel.figure.data[0].text[0] == "40.96 GB" and "40.96 GB" in panel.note.value
    panel.presets[0].click()
    assert panel.figure.data[0].text[0] == "30.72 GB"


def test_every_control_moves_its_bars(panel):
    panel.dim.value, panel.dtype.value, panel.n.value = 64, "int8", 1_000_000
    panel.links.value, panel.depth.value = 16, 1000
    want = Size(1_000_000, 768, 64, "int8", 16, 1000)
    full, cut, work = panel.figure.data
    assert list(full.x) == [want.gb(768, t) for t in TYPES] and list(cut.x) == [want.gb(64, t) for t in TYPES]
    assert cut.x[2] == want.total_gb
    assert list(work.x) == [want.exact, want.cut, want.shortlist]
    assert "laptop (16&nbsp;GB)" in panel.note.value and "of links" in panel.note.value
    assert len(set(cut.marker.color)) == 2 and cut.marker.color[2] != cut.marker.color[0]


def test_rate_and_price_are_in_the_line(panel):
    panel.rate.value = 1000
    assert "1,000 queries a second" in panel.note.value and "7.68 T exact" in panel.note.value
    assert "fill in a price" in panel.note.value
    panel.price.value = 2.0
    assert "61.44" in panel.note.value


def test_a_cut_beyond_the_width_is_a_message_and_goes_away(panel):
    before = panel.figure.data[0].x
    panel.dim.value = 1024
    assert "cannot keep 1,024 of 768" in panel.message.value and 'role="alert"' in panel.message.value
    assert np.array_equal(panel.figure.data[0].x, before)
    panel.width.value = 4096
    assert panel.message.value == "" and "4,096" in panel.figure.layout.annotations[0].text


def test_a_wrong_start_is_refused():
    with pytest.raises(InputError, match="cannot keep"):
        SizeCalculator(width=384, dim=768)


def test_sizes_off_the_sliders_steps_are_added_to_them():
    panel = SizeCalculator(n=28_433, width=385, dim=37, links=12, depth=33, queries=7)
    assert panel.size == Size(28_433, 385, 37, "float32", 12, 33)


def test_every_step_can_be_drawn(panel):
    for n in (COUNTS[0], COUNTS[-1]):
        for width in (WIDTHS[0], WIDTHS[-1]):
            with panel.held():
                panel.dim.value, panel.width.value, panel.n.value = WIDTHS[0], width, n
            panel.show()
            assert panel.message.value == ""
            for bar, axis in zip(panel.figure.data, ("xaxis", "xaxis", "xaxis2"), strict=True):
                low, high = panel.figure.layout[axis].range
                assert all(low <= np.log10(x) < high for x in bar.x)


def test_static_twin_is_the_same_picture(panel):
    panel.dim.value = 128
    twin = panel.static()
    assert type(twin).__name__ == "Figure"
    assert all(np.array_equal(a.x, b.x) for a, b in zip(twin.data, panel.figure.data, strict=True))
    assert len(twin.to_json()) < 20_000
