"""Numbers in, numbers out: tests, families, dose-response, fairness, power, sensitivity. Imports no other wing."""
