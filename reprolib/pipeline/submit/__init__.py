"""Send a profile's missing runs to Slurm, or to the GPUs of this machine, and restore what they made.

Who does what: submitit hands jobs to the scheduler, DVC says which runs are missing and carries results home, and this
package ties the two together. A worker (`worker.py`) is a clone of the submitted commit that runs `dvc repro
--single-item` on the stages of one run; the leader (`leader.py`) is the working tree that submitted it. What is known
of a submitted run lies in one folder of files, `work/submit/<profile>/<run>.<plan>/` (`order.py`).
"""
