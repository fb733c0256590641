"""Benchmarks, one a file: `run_benchmark` measures side by side in one run, `print_table` shows."""
