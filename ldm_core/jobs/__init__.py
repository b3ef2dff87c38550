"""Jobs: many pictures of a file of lines, by any number of processes that share a folder alone."""
