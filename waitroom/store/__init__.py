"""The room's state in Redis or Valkey: its transitions as scripts, and the way there.

All that speaks to a store is here, and nothing here knows a request or a visitor's page.
"""
