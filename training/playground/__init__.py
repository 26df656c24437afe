"""Prompts put to models: asked for, placed on a device, answered by a process of its own."""
