"""The sources: where users and queues are read from. Each kind is a module that hands out records and evidence."""
