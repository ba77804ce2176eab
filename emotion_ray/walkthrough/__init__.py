"""The whole job as one command, stage after stage, on the jobs of `distributed`: for whoever sees it the first time.

- `stages`: what stages tell, and what they leave.
- `runs`: a named training, sweep or evaluation is begun, gone on with, or shown where it is done.
- `demo`: on the synthetic sample, in minutes.
- `reproduce`: the baseline's results on RAVDESS, in hours; `estimate` says before how many.
"""
