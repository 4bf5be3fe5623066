"""What ties the routing layer to job queues; nothing here is imported unless a project asks for it."""
