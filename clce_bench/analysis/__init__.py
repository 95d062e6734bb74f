"""From the numbers of cells to comparisons, verdicts and tables."""
