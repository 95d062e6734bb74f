"""What Snakemake and a cluster have to be told."""
