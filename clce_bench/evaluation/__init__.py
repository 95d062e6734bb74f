"""From trained cells to numbers: metrics, intervals, tables of cells."""
