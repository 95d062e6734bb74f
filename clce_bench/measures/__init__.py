"""What features are good for beyond classifying: neighbours, retrieval, detection of outliers."""
