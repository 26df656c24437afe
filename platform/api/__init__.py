"""REST conventions that every app shares: envelopes, errors, filters, authentication. No models."""
