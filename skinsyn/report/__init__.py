"""Tables, figures, numbers and the typeset paper."""

from .notebook import show_in_notebooks

show_in_notebooks()
