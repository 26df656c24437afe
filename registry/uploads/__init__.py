"""Files that come in parts and become datasets. The protocol is tus 1.0 (https://tus.io)."""
