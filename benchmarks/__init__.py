"""What is timed: each file is a command, `python -m benchmarks.NAME`; together they write RESULTS.md."""
