"""Operating system services: scheduler, worker processes, file watching, sd_notify, alert delivery."""
