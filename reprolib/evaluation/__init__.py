"""Metrics by each benchmark's rules, submissions, cost and the record of a run."""
