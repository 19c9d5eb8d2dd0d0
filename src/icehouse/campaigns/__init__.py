"""Campaigns: one verb applied to many keys, by any number of workers, resumable wherever they are killed."""
