"""What readers see: the headline table and the report page."""
