"""The stages of ``benchmarks/cuda.py``, each run in a process of its own."""
