"""The schema's history, one module for each step; run by `syncd migrate` and by nothing else."""
