"""When and where: the queue, its scheduler and the devices."""
