"""Marks of numbers in text never change what is read, and a hostile id stays an attribute."""

from hypothesis import given
from hypothesis import strategies as st

from skinsyn.report.links import linked, mark, plain

words = st.text('ab<>&"{} é', max_size=6)


@given(st.lists(st.tuples(words, words.filter(bool), words), max_size=4), words)
def test_marks_never_change_what_is_read(parts, end):
    text = "".join(before + mark(name, shown) for before, name, shown in parts) + end
    assert plain(text) == "".join(before + shown for before, _, shown in parts) + end
    page = linked(text)
    assert page.count('<a class="number"') == len(parts) == page.count("</a>")


def test_a_hostile_id_stays_an_attribute():
    page = linked("x <b> " + mark('"><script>', "<i>") + " & y")
    assert page == 'x &lt;b&gt; <a class="number" href="#n-&#34;&gt;&lt;script&gt;">&lt;i&gt;</a> &amp; y'
