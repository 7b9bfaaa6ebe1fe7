"""Benchmarks: ``fusionreid benchmark ...``. Each prints one JSON line a measurement."""
