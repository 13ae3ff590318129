"""A soak: people push, call, cancel and watch while faults strike at random; then the oracle speaks."""
