"""What the study left open: a file a question, each from saved tables to a table, numbers and a plain answer."""
