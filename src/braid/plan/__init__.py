"""What a config would take on a data set: jobs, bytes and hours, before anything is decoded."""
