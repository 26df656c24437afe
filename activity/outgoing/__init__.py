"""Telling people and programs outside of the open pages: Web Push, e-mail, webhooks."""
