"""The demo that ships: its own data, its own small model, and a client of the public REST API."""
