"""Numbers, tables and figures, and the typeset paper that is drawn from them."""
