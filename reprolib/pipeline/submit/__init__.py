"""Send a profile's missing runs to Slurm, or to the GPUs of this machine, and restore what they made (README.md).

submitit runs the jobs (`jobs.py`), each in a clone of the commit (`worker.py`); DVC's run cache brings results to the
working tree that submitted them (`leader.py`).
"""
