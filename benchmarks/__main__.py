"""All benchmarks with few rounds: ``python -m benchmarks``."""

from benchmarks.suite import main

if __name__ == "__main__":
    raise SystemExit(main())
