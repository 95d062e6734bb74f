"""Results as runs in an MLflow store."""
