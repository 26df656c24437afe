"""How the platform is started on one machine and kept running."""
