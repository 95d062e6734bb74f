"""Names of losses, data sets and weights, and the code behind each."""
