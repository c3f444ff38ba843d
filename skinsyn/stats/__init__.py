"""Numbers in, numbers out: tests, families, dose-response, fairness. Imports no other wing."""
