"""What a package changes in a process, and what it says of itself."""
