"""From params.yaml to finished runs: plan, fingerprints, runs, notebooks, several GPUs."""
