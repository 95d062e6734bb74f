"""What a job leaves behind about itself."""
