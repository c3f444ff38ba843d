"""What is measured about skinsyn, beside its tests: speed, bookkeeping, operating characteristics, size of the code."""
