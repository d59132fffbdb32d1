"""Sources of users and queues, one module or package per kind; each implements `core.sync.record.Source`."""
