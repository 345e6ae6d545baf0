"""Side-by-side timings, printed as ratios: run them with python -m benchmarks.NAME."""
