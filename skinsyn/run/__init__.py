"""Where, with what, what is stale, what is kept, on what engine. The ground floor: imports no other wing."""
