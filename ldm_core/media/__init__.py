"""What is made, and the files that it is written to."""
